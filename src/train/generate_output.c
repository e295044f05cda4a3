#include "generate_output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "refract/base/file.h"

enum { MOST_BYTES = INT_MAX };

static rf_status cannot_write(const char *path)
{
    return rf_fail(RF_WRITE, "cannot write '%s': %s. Free space or choose another --out", path,
                   strerror(errno));
}

/* The lines that are whole, behind the first one; `*length`: where they end. */
static int64_t count_lines(const char *bytes, size_t *length)
{
    int64_t lines = 0;
    size_t whole = 0;
    for (size_t i = 0; i < *length; i++) {
        if (bytes[i] != '\n') continue;
        lines++;
        whole = i + 1;
    }
    *length = whole;
    return lines - 1;
}

static void first_line(char *line, size_t bytes, const char *digest)
{
    snprintf(line, bytes, "{\"generation\": \"%s\"}\n", digest);
}

/* Goes on with what an earlier start has left; nothing is changed unless it is of this one. */
static rf_status take_partial(output *out, const char *digest)
{
    char line[128], *bytes = NULL;
    size_t length = 0;
    RF_TRY(rf_file_read(&bytes, &length, out->partial, MOST_BYTES));
    first_line(line, sizeof line, digest);
    const size_t head = strlen(line) < length ? strlen(line) : length;
    const int is_same = memcmp(bytes, line, head) == 0;
    const int64_t lines = count_lines(bytes, &length);
    free(bytes);
    if (!is_same || lines > out->list->count)
        return rf_fail(
            RF_CONFLICT,
            "'%s' is of other prompts, another model or other options (--out). Remove it "
            "or choose another --out",
            out->partial);
    out->done = lines > 0 ? lines : 0;
    out->is_begun = lines >= 0;
    if (truncate(out->partial, lines < 0 ? 0 : (off_t)length) != 0)
        return cannot_write(out->partial);
    return RF_OK;
}

static rf_status open_file(output *out, const char *digest)
{
    char line[128];
    const int n = snprintf(out->partial, sizeof out->partial, "%s.partial", out->path);
    if (n < 0 || (size_t)n >= sizeof out->partial)
        return rf_fail(RF_USAGE, "the name is too long (--out). Choose a shorter one");
    if (access(out->path, F_OK) == 0)
        return rf_fail(RF_USAGE, "'%s' is there already (--out). Remove it or choose another name",
                       out->path);
    if (access(out->partial, F_OK) == 0) RF_TRY(take_partial(out, digest));
    out->file = fopen(out->partial, "a");
    if (!out->file) return cannot_write(out->partial);
    if (out->is_begun) return RF_OK;
    first_line(line, sizeof line, digest);
    return fputs(line, out->file) < 0 || fflush(out->file) != 0 ? cannot_write(out->partial)
                                                                : RF_OK;
}

rf_status output_open(output *out, const char digest[RF_DIGEST_BYTES])
{
    if (!out->is_root) return RF_OK;
    if (out->path) return open_file(out, digest);
    out->file = stdout;
    return RF_OK;
}

void output_text(void *context, int64_t at, const char *bytes, size_t length)
{
    const output *out = context;
    (void)at;
    if (!out->is_root || !out->is_stream) return;
    fwrite(bytes, 1, length, stdout);
    fflush(stdout);
}

/* One line; the text's bytes that are no UTF-8 have been replaced by the tokeniser. */
static char *line_of(const output *out, int64_t index, const rf_completion *c)
{
    json_t *row = json_array_get(out->list->rows, (size_t)index), *tokens = json_array();
    for (int64_t i = 0; i < c->count; i++) json_array_append_new(tokens, json_integer(c->ids[i]));
    json_t *line = json_pack("{s:I}", "index", (json_int_t)index);
    static const char *const given[] = {"prompt", "messages", "input_ids"};
    for (int i = 0; line && i < 3; i++)
        if (json_object_get(row, given[i]))
            json_object_set(line, given[i], json_object_get(row, given[i]));
    if (line) {
        json_object_set_new(line, "text", json_string(c->text));
        json_object_set(line, "tokens", tokens);
        json_object_set_new(line, "finish", json_string(rf_finish_name(c->finish)));
    }
    char *text = line ? json_dumps(line, 0) : NULL;
    json_decref(tokens);
    json_decref(line);
    return text;
}

rf_status output_done(void *context, int64_t at, const rf_completion *completion)
{
    output *out = context;
    const int64_t index = out->done + at;
    if (!out->is_root) return RF_OK;
    if (out->is_stream) {
        putchar('\n');
        return RF_OK;
    }
    char *line = line_of(out, index, completion);
    if (!line) return rf_fail(RF_RESOURCES, "no memory for a line of output");
    const int failed = fputs(line, out->file) < 0 || fputc('\n', out->file) < 0 ||
                       fflush(out->file) != 0 || RF_FAULT_AT("generate.write");
    free(line);
    return failed ? cannot_write(out->path ? out->partial : "standard output") : RF_OK;
}

rf_status output_finish(output *out)
{
    if (!out->is_root || !out->path) return RF_OK;
    char *bytes = NULL;
    size_t length = 0;
    output_close(out);
    RF_TRY(rf_file_read(&bytes, &length, out->partial, MOST_BYTES));
    const char *rest = memchr(bytes, '\n', length);
    const size_t begin = rest ? (size_t)(rest - bytes) + 1 : length;
    const rf_status status = rf_file_write(out->path, bytes + begin, length - begin);
    free(bytes);
    if (status == RF_OK) unlink(out->partial);
    return status;
}

void output_close(output *out)
{
    if (out->file && out->file != stdout) fclose(out->file);
    out->file = NULL;
}
