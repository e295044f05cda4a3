#include "eval_tasks.h"

#include <stdlib.h>
#include <string.h>

#include "refract/data/answers.h"

static rf_bytes bytes_of(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    return (rf_bytes){json_string_value(value), json_string_length(value)};
}

/* Cobbe et al. 2021, arXiv:2110.14168: the number behind `####`; loosely, the last number. */
static void judge_gsm8k(eval_verdict *v, const json_t *row, rf_bytes completion)
{
    v->answer = rf_answer_marked(bytes_of(row, "answer"));
    v->predicted = rf_answer_marked(completion);
    const rf_bytes last = rf_answer_last(completion);
    v->is_correct = v->predicted.at && rf_answer_same(v->answer, v->predicted);
    v->is_correct_loosely = last.at && rf_answer_same(v->answer, last);
}

static int is_letter(rf_bytes answer)
{
    return answer.length == 1 && answer.at[0] >= 'A' && answer.at[0] <= 'E';
}

/* LLM-Adapters, Hu et al. 2023, arXiv:2304.01933: AQuA by letter, the others by number. */
static void judge_math(eval_verdict *v, const json_t *row, rf_bytes completion)
{
    v->answer = bytes_of(row, "answer");
    if (is_letter(v->answer)) {
        const char letter = rf_answer_letter(completion);
        const char *at = letter ? memchr(completion.at, letter, completion.length) : NULL;
        v->predicted = (rf_bytes){at, at != NULL};
        v->is_correct = letter == v->answer.at[0];
        return;
    }
    double answer = 0, predicted = 0;
    v->predicted = rf_answer_last(completion);
    v->is_correct = rf_answer_number(v->answer, &answer) &&
                    rf_answer_number(completion, &predicted) && rf_answer_near(answer, predicted);
}

/* The same authors: the first word of the set's kind. */
static void judge_commonsense(eval_verdict *v, const json_t *row, rf_bytes completion)
{
    v->answer = bytes_of(row, "answer");
    v->predicted = rf_answer_choice(completion, v->answer);
    v->is_correct = v->predicted.at && v->predicted.length == v->answer.length &&
                    memcmp(v->predicted.at, v->answer.at, v->answer.length) == 0;
}

/* The function's head as it stands, to be gone on with. */
static json_t *ask_humaneval(json_t *row)
{
    return json_pack("{s:O, s:s}", "prompt", json_object_get(row, "prompt"), "completion", "");
}

static const eval_task tasks[] = {
    {"gsm8k", "question answer", {"Question:"}, "flexible", NULL, judge_gsm8k},
    {"math", "instruction answer", {"### Instruction:"}, NULL, NULL, judge_math},
    {"commonsense", "instruction answer", {"### Instruction:"}, NULL, NULL, judge_commonsense},
    /* Chen et al. 2021, arXiv:2107.03374, whose stop texts these are. */
    {"humaneval",
     "task_id prompt",
     {"\nclass", "\ndef", "\n#", "\nif", "\nprint"},
     NULL,
     ask_humaneval,
     NULL},
};

const eval_task *eval_task_find(const char *name)
{
    for (size_t i = 0; i < sizeof tasks / sizeof tasks[0]; i++)
        if (strcmp(tasks[i].name, name) == 0) return &tasks[i];
    return NULL;
}

rf_status eval_task_check(const eval_task *task, const json_t *row)
{
    for (const char *at = task->keys; *at; at += strspn(at, " ")) {
        const size_t length = strcspn(at, " ");
        if (!json_is_string(json_object_getn(row, at, length)))
            return rf_fail(RF_INPUT, "a row has no text '%.*s'", (int)length, at);
        at += length;
    }
    eval_verdict verdict = {0};
    if (!task->judge) return RF_OK;
    task->judge(&verdict, row, (rf_bytes){"", 0});
    return verdict.answer.length > 0 ? RF_OK : rf_fail(RF_INPUT, "a row's answer says nothing");
}

json_t *eval_task_line(const eval_task *task, const json_t *row, int64_t index, const char *text,
                       const eval_verdict *v)
{
    if (!task->judge)
        return json_pack("{s:O, s:s}", "task_id", json_object_get(row, "task_id"), "completion",
                         text);
    json_t *line = json_pack("{s:I, s:s, s:s%, s:s%, s:b}", "index", (json_int_t)index,
                             "completion", text, "answer", v->answer.at, v->answer.length,
                             "predicted", v->predicted.at ? v->predicted.at : "",
                             v->predicted.length, "correct", v->is_correct);
    if (line && task->loose &&
        json_object_set_new(line, task->loose, json_boolean(v->is_correct_loosely)) != 0) {
        json_decref(line);
        return NULL;
    }
    return line;
}
