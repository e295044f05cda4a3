#include "rf_test.h"

#include <stdio.h>
#include <string.h>

#include "refract/data/rows.h"

static const char *file_of(const char *name, const char *text)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", rf_test_folder(), name);
    rf_test_write_file(path, text, strlen(text));
    return path;
}

static rf_rows *rows_of(const char *text)
{
    rf_rows *rows = NULL;
    assert_ok(rf_rows_open(&rows, file_of("rows.jsonl", text)));
    return rows;
}

static void expect_row(rf_rows *rows, int value, int line)
{
    json_t *row = NULL;
    assert_ok(rf_rows_next(rows, &row));
    assert_non_null(row);
    assert_int_equal(json_integer_value(json_object_get(row, "a")), value);
    assert_int_equal(rf_rows_line(rows), line);
    json_decref(row);
}

static void expect_end(rf_rows *rows)
{
    json_t *row = NULL;
    assert_ok(rf_rows_next(rows, &row));
    assert_null(row);
    rf_rows_close(&rows);
}

static void lines__with_mark_and_blank_lines__give_rows_and_line_numbers(void **state)
{
    (void)state;
    rf_rows *rows = rows_of("\xEF\xBB\xBF{\"a\": 1}\r\n\n  \t\n{\"a\": 2}\n  {\"a\": 3}");
    expect_row(rows, 1, 1);
    expect_row(rows, 2, 4);
    expect_row(rows, 3, 5);
    expect_end(rows);
}

static void array__any_layout__gives_its_objects(void **state)
{
    (void)state;
    rf_rows *rows =
        rows_of("\xEF\xBB\xBF\n[\n {\"a\": 1, \"s\": \"}],{\\\"\"},\n{\"a\":2,\"l\":[[],{}]}\n"
                ",{\"a\": 3}]\n");
    expect_row(rows, 1, 3);
    expect_row(rows, 2, 4);
    expect_row(rows, 3, 5);
    expect_end(rows);
    rows = rows_of("[]");
    expect_end(rows);
    rows = rows_of("");
    expect_end(rows);
}

static void string__escapes_and_surrogates__become_utf8(void **state)
{
    (void)state;
    rf_rows *rows = rows_of("{\"s\": \"\\u00e4\\ud83d\\ude00\\u0000x\\n\"}");
    json_t *row = NULL;
    assert_ok(rf_rows_next(rows, &row));
    const json_t *s = json_object_get(row, "s");
    assert_int_equal(json_string_length(s), 9);
    assert_memory_equal(json_string_value(s), "\xC3\xA4\xF0\x9F\x98\x80\0x\n", 9);
    json_decref(row);
    rf_rows_close(&rows);
}

/* Every byte offset as the place where a file is parted. */
static void share__any_cut__gives_each_row_once(void **state)
{
    (void)state;
    const char *texts[] = {"{\"a\": 0}\n{\"a\": 1}\n\n{\"a\": 2}\n{\"a\": 3}",
                           " [{\"a\": 0},\n{\"a\": 1} ,{\"a\": 2},{\"a\": 3}]\n",
                           "\n\n  {\"a\": 0}\n{\"a\": 1}\n{\"a\": 2}\n{\"a\": 3}\n\n"};
    for (size_t t = 0; t < 3; t++) {
        const int64_t size = (int64_t)strlen(texts[t]);
        for (int64_t cut = 0; cut <= size; cut++) {
            rf_rows *rows = rows_of(texts[t]);
            int next = 0;
            int64_t counted = 0;
            for (int part = 0; part < 2; part++) {
                json_t *row = NULL;
                rf_rows_share(rows, part ? cut : 0, part ? size : cut);
                counted += rf_rows_count(rows);
                rf_rows_share(rows, part ? cut : 0, part ? size : cut);
                assert_ok(rf_rows_next(rows, &row));
                while (row) {
                    assert_int_equal(json_integer_value(json_object_get(row, "a")), next++);
                    json_decref(row);
                    assert_ok(rf_rows_next(rows, &row));
                }
            }
            assert_int_equal(next, 4);
            assert_int_equal(counted, 4);
            rf_rows_close(&rows);
        }
    }
}

static void expect_broken(const char *text, int good, const char *where)
{
    rf_rows *rows = rows_of(text);
    json_t *row = NULL;
    for (int i = 0; i < good; i++) expect_row(rows, i + 1, i + 1);
    assert_status(rf_rows_next(rows, &row), RF_INPUT);
    assert_message_has("rows.jsonl, ");
    assert_message_has(where);
    assert_null(row);
    rf_rows_close(&rows);
}

static void next__broken_row__names_its_line(void **state)
{
    (void)state;
    expect_broken("{\"a\": 1}\n{\"a\": 2}\n{\"a\": }\n", 2, "line 3");
    expect_broken("{\"a\": 1}\n{\"a\": 2\n{\"a\": 3}\n", 1, "line 2");
    expect_broken("{\"a\": 1}\n7\n", 1, "line 2");
    expect_broken("{\"a\": 1}\n{\"a\": 2, \"a\": 3}\n", 1, "line 2");
    expect_broken("{\"a\": 1}\n{\"a\": \"\xFF\"}\n", 1, "line 2");
    expect_broken("{\"a\": 1}\n{\"a\": \"\\ud800\"}\n", 1, "line 2");
    expect_broken("[{\"a\": 1},\n{\"a\": 2}\n", 2, "the array has no end");
    expect_broken("[{\"a\": 1}\n{\"a\": 2}]\n", 1, "line 2");
    expect_broken("[{\"a\": 1},\n]", 1, "line 2");
    expect_broken("[{\"a\": 1},\n[3]]", 1, "the row is not an object");
    expect_broken("[{\"a\": 1}]\nx", 1, "text behind the array's end");
}

static void open__no_plain_file__is_input(void **state)
{
    (void)state;
    rf_rows *rows = NULL;
    assert_status(rf_rows_open(&rows, "/nowhere/at/all.jsonl"), RF_INPUT);
    assert_message_has("/nowhere/at/all.jsonl");
    assert_status(rf_rows_open(&rows, rf_test_folder()), RF_INPUT);
    assert_message_has("not a regular file");
    assert_null(rows);
}

static void shared__gsm8k_and_commonsense__have_their_known_sizes(void **state)
{
    (void)state;
    skip_without("data/gsm8k/train.jsonl");
    static const struct {
        const char *path;
        int64_t rows;
    } sets[] = {{"data/gsm8k/train.jsonl", 7473},
                {"data/gsm8k/test.jsonl", 1319},
                {"data/commonsense/boolq/test.json", 3270},
                {"data/commonsense/ARC-Easy/train.json", 2251}};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        rf_rows *rows = NULL;
        int64_t count = 0;
        json_t *row = NULL;
        assert_ok(rf_rows_open(&rows, rf_shared_path(sets[i].path)));
        assert_ok(rf_rows_next(rows, &row));
        for (; row; count++) {
            json_decref(row);
            assert_ok(rf_rows_next(rows, &row));
        }
        assert_int_equal(count, sets[i].rows);
        rf_rows_close(&rows);
    }
}

static const struct CMUnitTest rows[] = {
    cmocka_unit_test(lines__with_mark_and_blank_lines__give_rows_and_line_numbers),
    cmocka_unit_test(array__any_layout__gives_its_objects),
    cmocka_unit_test(string__escapes_and_surrogates__become_utf8),
    cmocka_unit_test(share__any_cut__gives_each_row_once),
    cmocka_unit_test(next__broken_row__names_its_line),
    cmocka_unit_test(open__no_plain_file__is_input),
    cmocka_unit_test(shared__gsm8k_and_commonsense__have_their_known_sizes),
};
RF_TEST_MAIN(rows)
