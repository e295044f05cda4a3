#include "refract/data/answers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "refract/base/status.h"

static const rf_bytes none = {NULL, 0};

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int is_marked(char c)
{
    return is_digit(c) || c == '.' || c == ',';
}

static int is_loose(char c)
{
    return is_marked(c) || c == '$';
}

/* Length of the run of such characters at `from`. */
static size_t run(rf_bytes text, size_t from, int (*is)(char))
{
    size_t end = from;
    while (end < text.length && is(text.at[end])) end++;
    return end - from;
}

static size_t sign(rf_bytes text, size_t at)
{
    return at < text.length && text.at[at] == '-';
}

static int begins_with(rf_bytes text, size_t at, const char *word)
{
    const size_t length = strlen(word);
    return text.length - at >= length && memcmp(text.at + at, word, length) == 0;
}

rf_bytes rf_answer_marked(rf_bytes text)
{
    const char mark[] = "#### ";
    for (size_t i = 0; i < text.length; i++) {
        if (!begins_with(text, i, mark)) continue;
        const size_t at = i + sizeof mark - 1;
        const size_t minus = sign(text, at), digits = run(text, at + minus, is_marked);
        if (digits > 0) return (rf_bytes){text.at + at, minus + digits};
    }
    return none;
}

rf_bytes rf_answer_last(rf_bytes text)
{
    rf_bytes last = none;
    for (size_t i = 0; i < text.length;) {
        const size_t minus = sign(text, i);
        size_t length = run(text, i + minus, is_loose);
        if (length < 2) length = run(text, i + minus, is_digit);
        if (length > 0) last = (rf_bytes){text.at + i, minus + length};
        i += length > 0 ? minus + length : 1;
    }
    return last;
}

/* The next character that counts, from *at on; -1 at the end. */
static int next(rf_bytes text, size_t *at)
{
    while (*at < text.length) {
        const char c = text.at[(*at)++];
        if (c == ',' || c == '$' || (c == '.' && *at == text.length)) continue;
        return (unsigned char)c;
    }
    return -1;
}

int rf_answer_same(rf_bytes answer, rf_bytes predicted)
{
    size_t a = 0, b = 0;
    int c;
    if (!answer.at || !predicted.at) return 0;
    do {
        c = next(answer, &a);
        if (c != next(predicted, &b)) return 0;
    } while (c >= 0);
    return 1;
}

/* Behind the commas at `at`. */
static size_t pass_commas(rf_bytes text, size_t at)
{
    while (at < text.length && text.at[at] == ',') at++;
    return at;
}

/* Behind digits and the commas among them, which are not copied. */
static size_t take_digits(rf_bytes text, size_t at, rf_text *number, rf_status *status)
{
    for (at = pass_commas(text, at); at < text.length && is_digit(text.at[at]);
         at = pass_commas(text, at + 1))
        if (*status == RF_OK) *status = rf_text_append(number, text.at + at, 1);
    return at;
}

/* The number that begins at `at`, or nothing; returns the place behind it. */
static size_t take_number(rf_bytes text, size_t at, rf_text *number, rf_status *status)
{
    const size_t minus = sign(text, at);
    number->length = 0;
    if (minus) *status = rf_text_add(number, "-");
    size_t end = take_digits(text, at + minus, number, status);
    if (number->length == minus) {
        number->length = 0;
        return at + 1;
    }
    if (end < text.length && text.at[end] == '.') {
        if (*status == RF_OK) *status = rf_text_add(number, ".");
        end = take_digits(text, end + 1, number, status);
    }
    return end;
}

int rf_answer_number(rf_bytes text, double *value)
{
    rf_text number = {0};
    rf_status status = RF_OK;
    int found = 0;
    for (size_t at = 0; at < text.length && status == RF_OK;) {
        at = take_number(text, at, &number, &status);
        if (status != RF_OK || number.length == 0) continue;
        *value = strtod(number.bytes, NULL);
        found = 1;
    }
    free(number.bytes);
    return found && status == RF_OK;
}

int rf_answer_near(double answer, double predicted)
{
    return fabs(answer - predicted) <= 1e-3;
}

char rf_answer_letter(rf_bytes text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.at[i] >= 'A' && text.at[i] <= 'E') return text.at[i];
    return 0;
}

/* Words of one kind follow each other. */
static const struct choice {
    int kind;
    const char *word;
} choices[] = {{0, "true"},    {0, "false"},   {1, "solution1"}, {1, "solution2"}, {2, "answer1"},
               {2, "answer2"}, {2, "answer3"}, {2, "answer4"},   {2, "answer5"},   {3, "ending1"},
               {3, "ending2"}, {3, "ending3"}, {3, "ending4"},   {4, "option1"},   {4, "option2"}};

static const struct choice *choice_at(rf_bytes text, size_t at)
{
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        if (begins_with(text, at, choices[i].word)) return &choices[i];
    return NULL;
}

rf_bytes rf_answer_choice(rf_bytes text, rf_bytes answer)
{
    const struct choice *wanted = choice_at(answer, 0);
    for (size_t i = 0; wanted && i < text.length; i++) {
        const struct choice *found = choice_at(text, i);
        if (found && found->kind == wanted->kind)
            return (rf_bytes){text.at + i, strlen(found->word)};
    }
    return none;
}

rf_interval rf_wilson(int64_t correct, int64_t total)
{
    const double z = 1.959963984540054, n = (double)total;
    if (total <= 0) return (rf_interval){0, 1};
    const double p = (double)correct / n, denominator = 1 + z * z / n;
    const double centre = (p + z * z / (2 * n)) / denominator;
    const double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / denominator;
    return (rf_interval){correct == 0 ? 0 : centre - half, correct == total ? 1 : centre + half};
}
