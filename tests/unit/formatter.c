#include "rf_test.h"

#include <stdlib.h>
#include <string.h>

#include "refract/data/formatter.h"
#include "refract/data/samples.h"
#include "tiny_tokenizer.h"

static rf_tokenizer *tokenizer_of(int prepend)
{
    rf_tokenizer *tokenizer = NULL;
    char *json = tiny_tokenizer_json(prepend);
    const char *config = tiny_tokenizer_config();
    assert_ok(rf_tokenizer_parse(&tokenizer, json, strlen(json), config, strlen(config), "tiny"));
    free(json);
    return tokenizer;
}

static json_t *row_of(const char *text)
{
    json_t *row = json_loads(text, 0, NULL);
    assert_non_null(row);
    return row;
}

/* Ids spelled out: characters as they are, '_' for "▁", names for the rest; learnt ones in [ ]. */
static void spell(const rf_ids *ids, const rf_ids *labels, char *out)
{
    static const char *const names[] = {"<unk>", "<s>", "</s>", "<|", "|>"};
    int open = 0;
    for (int64_t i = 0; i < ids->count; i++) {
        const int32_t id = ids->ids[i];
        const int learnt = labels && labels->ids[i] != RF_NO_LABEL;
        if (learnt != open) out += sprintf(out, learnt ? "[" : "]");
        open = learnt;
        if (id < TINY_BYTE)
            out += sprintf(out, "%s", names[id]);
        else if (id < TINY_CHAR)
            out += sprintf(out, "\\%02x", (unsigned)(id - TINY_BYTE));
        else if (id == TINY_CHAR)
            out += sprintf(out, "_");
        else if (id < TINY_AB)
            out += sprintf(out, "%c", (char)(' ' + id - TINY_CHAR));
        else
            out += sprintf(out, id == TINY_AB ? "{ab}" : "{_a}");
    }
    if (open) sprintf(out, "]");
}

static rf_formatter *formatter_of(const char *format, const char *template,
                                  const rf_tokenizer *tokenizer)
{
    rf_formatter *formatter = NULL;
    assert_ok(rf_formatter_create(&formatter, format, template, tokenizer));
    return formatter;
}

static void expect_row(const rf_formatter *formatter, const char *json, int train_on_inputs,
                       const char *wanted)
{
    rf_ids ids = {0}, labels = {0};
    char spelled[4096] = "";
    int is_text = -1;
    json_t *row = row_of(json);
    assert_ok(rf_formatter_encode(formatter, row, train_on_inputs, &ids, &labels, &is_text));
    assert_int_equal(ids.count, labels.count);
    spell(&ids, &labels, spelled);
    assert_string_equal(spelled, wanted);
    json_decref(row);
    free(ids.ids);
    free(labels.ids);
}

static void expect_prompt(const rf_formatter *formatter, const char *json, const char *wanted)
{
    rf_ids ids = {0};
    char spelled[4096] = "";
    json_t *row = row_of(json);
    assert_ok(rf_formatter_prompt(formatter, row, &ids));
    spell(&ids, NULL, spelled);
    assert_string_equal(spelled, wanted);
    json_decref(row);
    free(ids.ids);
}

static void expect(int prepend, const char *format, const char *template, const char *json,
                   const char *wanted)
{
    rf_tokenizer *tokenizer = tokenizer_of(prepend);
    rf_formatter *formatter = formatter_of(format, template, tokenizer);
    expect_row(formatter, json, 0, wanted);
    rf_formatter_destroy(&formatter);
    rf_tokenizer_destroy(&tokenizer);
}

/* "▁" and BOS once, at the start; "ab" across the border stays two tokens. */
static void completion__sentencepiece__answer_goes_on_without_a_blank(void **state)
{
    (void)state;
    expect(1, "auto", "auto", "{\"prompt\":\"xa\",\"completion\":\"by\"}", "<s>_xa[by</s>]");
    expect(0, "auto", "auto", "{\"prompt\":\"xa\",\"completion\":\"by\"}", "<s>xa[by</s>]");
    expect(1, "auto", "auto", "{\"prompt\":\"xa\",\"completion\":\"by</s>\"}", "<s>_xa[by</s>]");
}

static void completion__answer_with_its_own_blank__keeps_it(void **state)
{
    (void)state;
    expect(1, "auto", "auto", "{\"prompt\":\"x\",\"completion\":\" a\"}", "<s>_x[{_a}</s>]");
    expect(0, "auto", "auto", "{\"prompt\":\"x\",\"completion\":\" a\"}", "<s>x[{_a}</s>]");
    expect(1, "auto", "auto", "{\"prompt\":\"x\",\"completion\":\"\\na\"}", "<s>_x[\\0aa</s>]");
    expect(1, "auto", "auto", "{\"prompt\":\"\",\"completion\":\"a\"}", "<s>[{_a}</s>]");
}

static void gsm8k__row__is_question_and_answer(void **state)
{
    (void)state;
    expect(1, "auto", "auto", "{\"question\":\"q\",\"answer\":\"1\"}",
           "<s>_Question:_q\\0aAnswer:[_1</s>]");
}

static void alpaca__templates__frame_the_row(void **state)
{
    (void)state;
    const char *row = "{\"instruction\":\"i\",\"input\":\"n\",\"output\":\"o\",\"answer\":\"x\"}";
    expect(1, "auto", "none", row, "<s>_i\\0an[o</s>]");
    expect(1, "alpaca", "gsm8k", row, "<s>_Question:_i\\0an\\0aAnswer:[_o</s>]");
    expect(1, "alpaca", "chatml", row, "<|_user\\0ai\\0an|>_\\0a<|{_a}ssistant\\0a[o|>]_\\0a");
    expect(0, "alpaca", "none", "{\"query\":\"i\\nn\",\"response\":\"o\"}", "<s>i\\0an[o</s>]");
}

static void chat__turns__labels_only_assistants(void **state)
{
    (void)state;
    const char *row =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\","
        "\"content\":\"a\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\","
        "\"text\":\"v\"}]},{\"role\":\"assistant\",\"content\":\"b\"}]}";
    const char *wanted = "<|user\\0au|>\\0a<|assistant\\0a[a|>]\\0a<|user\\0av|>\\0a<|assistant\\0a"
                         "[b|>]\\0a";
    expect(0, "auto", "auto", row, wanted);
    expect(0, "chat", "chat", row, wanted);
    expect(0, "auto", "auto",
           "{\"conversations\":[{\"from\":\"human\",\"value\":\"u\"},{\"from\":\"gpt\",\"value\":"
           "\"a\"}]}",
           "<|user\\0au|>\\0a<|assistant\\0a[a|>]\\0a");
}

static void text__row__is_learnt_whole(void **state)
{
    (void)state;
    expect(1, "auto", "auto", "{\"text\":\"ab a\"}", "[<s>_{ab}{_a}</s>]");
}

static void train_on_inputs__labels_every_token(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = tokenizer_of(1);
    rf_formatter *formatter = formatter_of("auto", "auto", tokenizer);
    expect_row(formatter, "{\"prompt\":\"x\",\"completion\":\"y\"}", 1, "[<s>_xy</s>]");
    expect_row(formatter, "{\"input_ids\":[1,2],\"labels\":[-100,2]}", 1, "<s>[</s>]");
    rf_formatter_destroy(&formatter);
    rf_tokenizer_destroy(&tokenizer);
}

static void tokens__row__is_used_as_it_is(void **state)
{
    (void)state;
    rf_formatter *formatter = formatter_of("auto", "auto", NULL);
    expect_row(formatter, "{\"input_ids\":[1,2,4],\"labels\":[-100,-100,4]}", 0, "<s></s>[|>]");
    expect_row(formatter, "{\"input_ids\":[1,2,4],\"attention_mask\":[1,1,1]}", 0, "[<s></s>|>]");
    rf_formatter_destroy(&formatter);
}

static void classification__row__puts_the_class_at_the_end(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = tokenizer_of(0);
    rf_formatter *formatter = formatter_of("auto", "auto", tokenizer);
    rf_ids ids = {0}, labels = {0};
    int is_text = -1;
    json_t *row = row_of("{\"premise\":\"x\",\"hypothesis\":\"y\",\"label\":2}");
    assert_ok(rf_formatter_encode(formatter, row, 0, &ids, &labels, &is_text));
    assert_int_equal(ids.count, 3);
    assert_int_equal(labels.ids[1], RF_NO_LABEL);
    assert_int_equal(labels.ids[2], 2);
    json_decref(row);
    free(ids.ids);
    free(labels.ids);
    rf_formatter_destroy(&formatter);
    rf_tokenizer_destroy(&tokenizer);
}

/* What generation starts from is what training saw before the answer. */
static void prompt__any_format__is_the_start_of_the_sample(void **state)
{
    (void)state;
    static const struct {
        const char *template, *row, *bare, *prompt;
    } cases[] = {
        {"auto", "{\"prompt\":\"xa\",\"completion\":\"by\"}", "{\"prompt\":\"xa\"}", "<s>_xa"},
        {"auto", "{\"question\":\"q\",\"answer\":\"1\"}", "{\"question\":\"q\"}",
         "<s>_Question:_q\\0aAnswer:"},
        {"chat", "{\"instruction\":\"i\",\"output\":\"o\"}", "{\"instruction\":\"i\"}",
         "<|_user\\0ai|>_\\0a<|{_a}ssistant\\0a"},
        {"auto",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\","
         "\"content\":\"a\"}]}",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"}]}",
         "<|_user\\0au|>_\\0a<|{_a}ssistant\\0a"},
    };
    rf_tokenizer *tokenizer = tokenizer_of(1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_formatter *formatter = formatter_of("auto", cases[i].template, tokenizer);
        rf_ids whole = {0}, labels = {0}, prompt = {0};
        int is_text = 0;
        json_t *row = row_of(cases[i].row);
        expect_prompt(formatter, cases[i].row, cases[i].prompt);
        expect_prompt(formatter, cases[i].bare, cases[i].prompt);
        assert_ok(rf_formatter_encode(formatter, row, 0, &whole, &labels, &is_text));
        assert_ok(rf_formatter_prompt(formatter, row, &prompt));
        assert_true(prompt.count < whole.count);
        assert_memory_equal(prompt.ids, whole.ids, (size_t)prompt.count * sizeof *prompt.ids);
        assert_int_equal(labels.ids[prompt.count - 1], RF_NO_LABEL);
        assert_int_equal(labels.ids[prompt.count], whole.ids[prompt.count]);
        json_decref(row);
        free(whole.ids);
        free(labels.ids);
        free(prompt.ids);
        rf_formatter_destroy(&formatter);
    }
    rf_tokenizer_destroy(&tokenizer);
}

static void create__what_does_not_fit__is_usage(void **state)
{
    (void)state;
    static const struct {
        const char *format, *template, *word;
    } bad[] = {
        {"alpca", "auto", "unknown format 'alpca'"},
        {"auto", "alpca", "unknown template 'alpca'"},
        {"chat", "alpaca", "does not fit rows of format chat"},
        {"tokens", "alpaca", "take no template"},
        {"text", "chatml", "take no template"},
    };
    rf_tokenizer *tokenizer = tokenizer_of(1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rf_formatter *formatter = NULL;
        assert_status(rf_formatter_create(&formatter, bad[i].format, bad[i].template, tokenizer),
                      RF_USAGE);
        assert_message_has(bad[i].word);
        assert_null(formatter);
    }
    rf_formatter *formatter = NULL;
    assert_status(rf_formatter_create(&formatter, "auto", "chat", NULL), RF_USAGE);
    assert_status(rf_formatter_create(&formatter, "auto", "./no.txt", tokenizer), RF_INPUT);
    rf_tokenizer_destroy(&tokenizer);
}

static void encode__malformed_row__says_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *row, *word;
        rf_status status;
    } bad[] = {
        {"{\"foo\":1}", "keys fit no format", RF_INPUT},
        {"{\"prompt\":\"x\"}", "no text under 'completion'", RF_INPUT},
        {"{\"instruction\":7,\"output\":\"x\"}", "no text under 'instruction'", RF_INPUT},
        {"{\"messages\":[]}", "no list of messages", RF_INPUT},
        {"{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", "'tool'", RF_INPUT},
        {"{\"messages\":[{\"role\":\"user\"}]}", "no text", RF_INPUT},
        {"{\"input_ids\":[1,2],\"labels\":[1]}", "differ in length", RF_INPUT},
        {"{\"input_ids\":[1,-2]}", "entry 1 of 'input_ids'", RF_INPUT},
        {"{\"input_ids\":[1],\"labels\":[-99]}", "entry 0 of 'labels'", RF_INPUT},
        {"{\"input_ids\":[4294967297]}", "entry 0", RF_INPUT},
        {"{\"text\":\"x\",\"label\":\"pos\"}", "'label'", RF_INPUT},
    };
    rf_tokenizer *tokenizer = tokenizer_of(1);
    rf_formatter *formatter = formatter_of("auto", "auto", tokenizer);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rf_ids ids = {0}, labels = {0};
        int is_text = 0;
        json_t *row = row_of(bad[i].row);
        assert_status(rf_formatter_encode(formatter, row, 0, &ids, &labels, &is_text),
                      bad[i].status);
        assert_message_has(bad[i].word);
        json_decref(row);
        free(ids.ids);
        free(labels.ids);
    }
    rf_formatter_destroy(&formatter);
    rf_tokenizer_destroy(&tokenizer);
}

static const struct CMUnitTest formatter[] = {
    cmocka_unit_test(completion__sentencepiece__answer_goes_on_without_a_blank),
    cmocka_unit_test(completion__answer_with_its_own_blank__keeps_it),
    cmocka_unit_test(gsm8k__row__is_question_and_answer),
    cmocka_unit_test(alpaca__templates__frame_the_row),
    cmocka_unit_test(chat__turns__labels_only_assistants),
    cmocka_unit_test(text__row__is_learnt_whole),
    cmocka_unit_test(train_on_inputs__labels_every_token),
    cmocka_unit_test(tokens__row__is_used_as_it_is),
    cmocka_unit_test(classification__row__puts_the_class_at_the_end),
    cmocka_unit_test(prompt__any_format__is_the_start_of_the_sample),
    cmocka_unit_test(create__what_does_not_fit__is_usage),
    cmocka_unit_test(encode__malformed_row__says_what_is_wrong),
};
RF_TEST_MAIN(formatter)
