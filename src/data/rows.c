#include "refract/data/rows.h"

#include <stdlib.h>
#include <string.h>

#include "mapping.h"

struct rf_rows {
    rf_mapping file;
    char *path;
    int array;         /* 1: one JSON array; 0: a row per line */
    size_t at;         /* next byte to look at */
    size_t begin, end; /* rows that begin here are wanted */
    size_t row;        /* where the row last returned begins */
    int started;       /* arrays: an element was passed, a comma must come before the next */
    int closed;        /* arrays: behind the closing bracket */
};

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_blanks(rf_rows *rows)
{
    while (rows->at < rows->file.size && is_blank(rows->file.bytes[rows->at])) rows->at++;
}

/* Goes to the start of the rows, behind a byte-order mark and an array's opening bracket. */
static void rewind_rows(rf_rows *rows)
{
    rows->at = 0;
    rows->started = rows->closed = 0;
    if (rows->file.size >= 3 && memcmp(rows->file.bytes, "\xEF\xBB\xBF", 3) == 0) rows->at = 3;
    skip_blanks(rows);
    rows->array = rows->at < rows->file.size && rows->file.bytes[rows->at] == '[';
    if (rows->array) rows->at++;
}

rf_status rf_rows_open(rf_rows **rows, const char *path)
{
    *rows = NULL;
    rf_rows *opened = calloc(1, sizeof *opened);
    char *name = strdup(path);
    if (!opened || !name) {
        free(opened);
        free(name);
        return rf_fail(RF_RESOURCES, "no memory to read the data (%s)", path);
    }
    opened->path = name;
    const rf_status status = rf_mapping_open(&opened->file, path);
    if (status != RF_OK) {
        rf_rows_close(&opened);
        return status;
    }
    opened->end = opened->file.size;
    rewind_rows(opened);
    *rows = opened;
    return RF_OK;
}

void rf_rows_close(rf_rows **rows)
{
    if (!*rows) return;
    rf_mapping_close(&(*rows)->file);
    free((*rows)->path);
    free(*rows);
    *rows = NULL;
}

int64_t rf_rows_bytes(const rf_rows *rows)
{
    return (int64_t)rows->file.size;
}

/* First byte of the line behind the one that holds byte `at`. */
static size_t next_line(const rf_rows *rows, size_t at)
{
    if (at >= rows->file.size) return rows->file.size;
    const char *from = rows->file.bytes + at;
    const char *end = memchr(from, '\n', rows->file.size - at);
    return end ? (size_t)(end - rows->file.bytes) + 1 : rows->file.size;
}

void rf_rows_share(rf_rows *rows, int64_t begin, int64_t end)
{
    rewind_rows(rows);
    rows->begin = (size_t)begin;
    rows->end = (size_t)end < rows->file.size ? (size_t)end : rows->file.size;
    /* A line that began before `begin` belongs to another share; arrays are walked from the front.
     */
    if (!rows->array && rows->begin > rows->at) rows->at = next_line(rows, rows->begin - 1);
}

int64_t rf_rows_line(const rf_rows *rows)
{
    int64_t line = 1;
    const char *from = rows->file.bytes, *to = from + rows->row;
    while (from < to && (from = memchr(from, '\n', (size_t)(to - from)))) {
        line++;
        from++;
    }
    return line;
}

rf_status rf_rows_fail(const rf_rows *rows, rf_status status, const char *hint)
{
    return rf_fail(status, "%s (%s, line %lld). %s", rf_status_message(), rows->path,
                   (long long)rf_rows_line(rows), hint);
}

static rf_status broken(const rf_rows *rows, const char *what)
{
    rf_fail(RF_INPUT, "broken JSON: %s", what);
    return rf_rows_fail(rows, RF_INPUT, "Rows are objects, one per line or in one array");
}

static rf_status parse(const rf_rows *rows, size_t length, json_t **row)
{
    json_error_t error;
    *row = json_loadb(rows->file.bytes + rows->row, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                      &error);
    if (!*row) return broken(rows, error.text);
    if (json_is_object(*row)) return RF_OK;
    json_decref(*row);
    *row = NULL;
    return broken(rows, "the row is not an object");
}

static rf_status next_of_lines(rf_rows *rows, json_t **row)
{
    while (rows->at < rows->end) {
        const size_t begin = rows->at, end = next_line(rows, begin);
        rows->at = end;
        size_t first = begin;
        while (first < end && is_blank(rows->file.bytes[first])) first++;
        if (first == end) continue;
        rows->row = first;
        return parse(rows, end - first, row);
    }
    return RF_OK;
}

/* First byte behind the value at rows->at; the file's size when it has no end. */
static size_t end_of_value(const rf_rows *rows)
{
    const char *bytes = rows->file.bytes;
    size_t at = rows->at;
    int64_t depth = 0;
    for (int quoted = 0; at < rows->file.size; at++) {
        const char c = bytes[at];
        if (quoted) {
            if (c == '\\')
                at++;
            else if (c == '"')
                quoted = 0;
        } else if (c == '"')
            quoted = 1;
        else if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']') {
            if (depth == 0) return at; /* the array's own bracket, behind a scalar */
            if (--depth == 0) return at + 1;
        } else if (depth == 0 && c == ',')
            return at;
    }
    return rows->file.size;
}

/* Stands on the next element (rows->row), or behind the array (closed). */
static rf_status find_element(rf_rows *rows)
{
    skip_blanks(rows);
    rows->row = rows->at;
    if (rows->at >= rows->file.size) return broken(rows, "the array has no end");
    if (rows->file.bytes[rows->at] == ']') {
        rows->closed = 1;
        rows->at++;
        skip_blanks(rows);
        rows->row = rows->at;
        return rows->at == rows->file.size ? RF_OK : broken(rows, "text behind the array's end");
    }
    if (rows->started) {
        if (rows->file.bytes[rows->at] != ',') return broken(rows, "',' expected between rows");
        rows->at++;
        skip_blanks(rows);
        rows->row = rows->at;
    }
    rows->started = 1;
    return RF_OK;
}

static rf_status next_of_array(rf_rows *rows, json_t **row)
{
    while (!rows->closed && rows->at < rows->end) {
        RF_TRY(find_element(rows));
        if (rows->closed || rows->row >= rows->end) return RF_OK;
        const size_t end = end_of_value(rows);
        rows->at = end;
        if (rows->row >= rows->begin) return parse(rows, end - rows->row, row);
    }
    return RF_OK;
}

rf_status rf_rows_next(rf_rows *rows, json_t **row)
{
    *row = NULL;
    return rows->array ? next_of_array(rows, row) : next_of_lines(rows, row);
}

static int64_t count_lines(rf_rows *rows)
{
    int64_t count = 0;
    while (rows->at < rows->end) {
        const size_t begin = rows->at;
        rows->at = next_line(rows, begin);
        size_t first = begin;
        while (first < rows->at && is_blank(rows->file.bytes[first])) first++;
        count += first < rows->at;
    }
    return count;
}

int64_t rf_rows_count(rf_rows *rows)
{
    if (!rows->array) return count_lines(rows);
    int64_t count = 0;
    while (!rows->closed && rows->at < rows->end && find_element(rows) == RF_OK) {
        if (rows->closed || rows->row >= rows->end) break;
        count += rows->row >= rows->begin;
        rows->at = end_of_value(rows);
    }
    return count;
}
