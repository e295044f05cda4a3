#include "refract/sweep/status.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* Seconds since the lock of a running run was made. */
static double running_for(const rf_sweep *sweep, int64_t index)
{
    char lock[PATH_MAX];
    struct stat info;
    if (rf_sweep_path(sweep, index, "records", ".lock", lock) != RF_OK || stat(lock, &info) != 0)
        return 0;
    const double seconds = difftime(time(NULL), info.st_mtime);
    return seconds > 0 ? seconds : 0;
}

static void estimate(rf_sweep_survey *survey, const rf_sweep *sweep, double done_seconds)
{
    const int64_t *count = survey->count;
    double rest = 0;
    survey->rest = -1;
    survey->pace = count[RF_SWEEP_RUNNING] > 0 ? count[RF_SWEEP_RUNNING] : 1;
    if (count[RF_SWEEP_DONE] == 0) return;
    survey->mean = done_seconds / (double)count[RF_SWEEP_DONE];
    for (int64_t i = 0; i < sweep->count; i++) {
        const rf_sweep_record *record = &survey->record[i];
        double spent = 0;
        if (record->state == RF_SWEEP_DONE || record->state == RF_SWEEP_FAILED) continue;
        if (record->state == RF_SWEEP_RUNNING) spent = running_for(sweep, i) + record->seconds;
        if (record->state == RF_SWEEP_STOPPED) spent = record->seconds;
        rest += spent < survey->mean ? survey->mean - spent : 0;
    }
    survey->rest = rest / (double)survey->pace;
}

rf_status rf_sweep_survey_take(rf_sweep_survey *survey, const rf_sweep *sweep)
{
    const rf_lock_holder self = rf_lock_holder_self();
    double seconds = 0;
    *survey = (rf_sweep_survey){.mean = 0};
    survey->record = calloc((size_t)sweep->count + 1, sizeof *survey->record);
    if (!survey->record)
        return rf_fail(RF_RESOURCES, "no memory for %lld runs", (long long)sweep->count);
    for (int64_t i = 0; i < sweep->count; i++) {
        rf_sweep_record *record = &survey->record[i];
        RF_TRY(rf_sweep_look(sweep, i, &self, record));
        survey->count[record->state]++;
        if (record->state == RF_SWEEP_DONE) seconds += record->seconds;
    }
    estimate(survey, sweep, seconds);
    return RF_OK;
}

void rf_sweep_survey_free(rf_sweep_survey *survey)
{
    free(survey->record);
    *survey = (rf_sweep_survey){.mean = 0};
}

/* 12.3 s, or H:MM:SS from a hundred seconds on. */
static void write_clock(char text[32], double seconds)
{
    const long whole = (long)(seconds + 0.5);
    if (seconds < 99.95)
        snprintf(text, 32, "%.1f s", seconds);
    else
        snprintf(text, 32, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
}

/* Steps done of a run that is under way: "step 120/300"; else its message. */
static void write_note(const rf_sweep *sweep, int64_t index, const rf_sweep_record *record,
                       char *note, size_t bytes)
{
    rf_sweep_result result;
    snprintf(note, bytes, "%s", record->message);
    if (record->state == RF_SWEEP_FAILED)
        snprintf(note, bytes, "code %d: %s", record->code, record->message);
    if (record->state != RF_SWEEP_RUNNING) return;
    snprintf(note, bytes, "process %ld on %s", record->holder.pid, record->holder.host);
    if (rf_sweep_result_read(&result, sweep, index, 1) == RF_OK)
        snprintf(note, bytes, "step %" PRId64 "/%" PRId64 ", process %ld on %s", result.steps,
                 result.total_steps, record->holder.pid, record->holder.host);
}

static void print_run(FILE *out, const rf_sweep *sweep, int64_t index,
                      const rf_sweep_record *record)
{
    char what[512], note[RF_MESSAGE_BYTES + 64], clock[32] = "-";
    const int running = record->state == RF_SWEEP_RUNNING;
    rf_sweep_describe(&sweep->run[index], what, sizeof what);
    write_note(sweep, index, record, note, sizeof note);
    for (char *at = note; *at; at++)
        if (*at == '\n') *at = ' ';
    if (record->tries > 0 || running)
        write_clock(clock, record->seconds + (running ? running_for(sweep, index) : 0));
    fprintf(out, "%5" PRId64 "  %s  %-8s  %8s  %s%s%s\n", index, sweep->run[index].id,
            rf_sweep_state_word(record->state), clock, what, note[0] ? "  | " : "", note);
}

void rf_sweep_print(FILE *out, const rf_sweep *sweep, const rf_sweep_survey *survey, int all)
{
    char clock[32];
    int64_t shown = 0;
    fprintf(out, "%s: %" PRId64 " runs of %s:", sweep->source, sweep->count, sweep->base);
    for (int state = RF_SWEEP_DONE, first = 1; state != -1; first = 0) {
        static const rf_sweep_state next[RF_SWEEP_STATES] = {[RF_SWEEP_DONE] = RF_SWEEP_RUNNING,
                                                             [RF_SWEEP_RUNNING] = RF_SWEEP_FAILED,
                                                             [RF_SWEEP_FAILED] = RF_SWEEP_STOPPED,
                                                             [RF_SWEEP_STOPPED] = RF_SWEEP_VANISHED,
                                                             [RF_SWEEP_VANISHED] = RF_SWEEP_LEFT};
        fprintf(out, "%s %" PRId64 " %s", first ? "" : ",", survey->count[state],
                rf_sweep_state_word((rf_sweep_state)state));
        state = state == RF_SWEEP_LEFT ? -1 : (int)next[state];
    }
    fputc('\n', out);
    write_clock(clock, survey->rest > 0 ? survey->rest : 0);
    if (survey->rest > 0)
        fprintf(out, "the rest takes about %s, %" PRId64 " at a time (%.1f s a run)\n", clock,
                survey->pace, survey->mean);
    for (int64_t i = 0; i < sweep->count; i++) {
        const rf_sweep_record *record = &survey->record[i];
        const int plain = record->state == RF_SWEEP_DONE || record->state == RF_SWEEP_LEFT;
        if (plain && !all && !record->message[0]) continue;
        if (shown++ == 0) fputs("  run  identity          state         time  what\n", out);
        print_run(out, sweep, i, record);
    }
}

static json_t *run_object(const rf_sweep *sweep, int64_t index, const rf_sweep_record *record)
{
    char folder[PATH_MAX] = "";
    rf_sweep_result result;
    json_t *set = json_object();
    for (int i = 0; i < sweep->run[index].set.count; i++) {
        const char *item = sweep->run[index].set.item[i], *equals = strchr(item, '=');
        char key[256];
        if (!equals) continue;
        snprintf(key, sizeof key, "%.*s", (int)(equals - item), item);
        json_object_set_new(set, key, json_string(equals + 1));
    }
    rf_sweep_path(sweep, index, "runs", "", folder);
    json_t *run =
        json_pack("{s:I, s:s, s:s, s:s, s:o, s:i, s:s, s:f, s:I}", "index", (json_int_t)index, "id",
                  sweep->run[index].id, "folder", folder, "state",
                  rf_sweep_state_word(record->state), "set", set, "code", record->code, "message",
                  record->message, "seconds", record->seconds, "tries", (json_int_t)record->tries);
    if (!run || record->state != RF_SWEEP_RUNNING) return run;
    json_object_set_new(run, "host", json_string(record->holder.host));
    json_object_set_new(run, "process", json_integer(record->holder.pid));
    if (rf_sweep_result_read(&result, sweep, index, 1) == RF_OK)
        json_object_set_new(run, "steps", json_integer(result.steps));
    return run;
}

rf_status rf_sweep_print_json(FILE *out, const rf_sweep *sweep, const rf_sweep_survey *survey)
{
    json_t *runs = json_array(), *counts = json_object();
    for (int i = 0; i < RF_SWEEP_STATES; i++)
        json_object_set_new(counts, rf_sweep_state_word((rf_sweep_state)i),
                            json_integer(survey->count[i]));
    for (int64_t i = 0; i < sweep->count; i++)
        json_array_append_new(runs, run_object(sweep, i, &survey->record[i]));
    json_t *whole = json_pack("{s:s, s:s, s:I, s:o, s:f, s:o, s:I, s:o}", "sweep", sweep->source,
                              "base", sweep->base, "total", (json_int_t)sweep->count, "counts",
                              counts, "mean_seconds", survey->mean, "rest_seconds",
                              survey->rest >= 0 ? json_real(survey->rest) : json_null(), "pace",
                              (json_int_t)survey->pace, "runs", runs);
    char *text = whole ? json_dumps(whole, JSON_INDENT(1)) : NULL;
    json_decref(whole);
    if (!text) return rf_fail(RF_RESOURCES, "no memory for the sweep's status");
    fprintf(out, "%s\n", text);
    free(text);
    return RF_OK;
}
