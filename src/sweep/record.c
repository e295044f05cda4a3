#include "refract/sweep/record.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "refract/base/file.h"

enum { LONGEST_RECORD = 1 << 16 };

const char *rf_sweep_state_word(rf_sweep_state state)
{
    static const char *const words[] = {
#define RF_SWEEP_STATE_WORD(name, word) word,
        RF_SWEEP_STATE_LIST(RF_SWEEP_STATE_WORD)
#undef RF_SWEEP_STATE_WORD
    };
    return (int)state >= 0 && state < RF_SWEEP_STATES ? words[state] : "?";
}

static int exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

static void take_text(const json_t *object, const char *key, char *text, size_t bytes)
{
    const char *found = json_string_value(json_object_get(object, key));
    snprintf(text, bytes, "%s", found ? found : "");
}

/* The record's file, if there is one; 0 where it says nothing. */
static int read_record(const char *path, rf_sweep_record *record)
{
    char *text = NULL;
    size_t length = 0;
    if (rf_file_read(&text, &length, path, LONGEST_RECORD) != RF_OK) return 0;
    json_t *object = json_loadb(text, length, 0, NULL);
    free(text);
    const char *word = json_string_value(json_object_get(object, "state"));
    int known = 0;
    for (int i = 0; word && i < RF_SWEEP_STATES; i++)
        if (strcmp(word, rf_sweep_state_word((rf_sweep_state)i)) == 0) {
            record->state = (rf_sweep_state)i;
            known = 1;
        }
    if (known) {
        record->code = (int)json_integer_value(json_object_get(object, "code"));
        record->seconds = json_number_value(json_object_get(object, "seconds"));
        record->tries = json_integer_value(json_object_get(object, "tries"));
        record->ranks = (int)json_integer_value(json_object_get(object, "ranks"));
        record->threads = (int)json_integer_value(json_object_get(object, "threads"));
        take_text(object, "message", record->message, sizeof record->message);
        take_text(object, "start", record->start, sizeof record->start);
        take_text(object, "ended", record->ended, sizeof record->ended);
    }
    json_decref(object);
    return known;
}

rf_status rf_sweep_recorded(const rf_sweep *sweep, int64_t index, rf_sweep_record *record)
{
    char file[PATH_MAX], run[PATH_MAX];
    *record = (rf_sweep_record){.state = RF_SWEEP_LEFT};
    RF_TRY(rf_sweep_path(sweep, index, "records", ".json", file));
    RF_TRY(rf_sweep_path(sweep, index, "runs", "/run.h5", run));
    if (!read_record(file, record) && exists(file))
        snprintf(record->message, sizeof record->message,
                 "%.500s cannot be read: it counts as none", file);
    if (record->state != RF_SWEEP_DONE || exists(run)) return RF_OK;
    record->state = RF_SWEEP_VANISHED;
    snprintf(record->message, sizeof record->message,
             "it was done, but there is no %.500s any more", run);
    return RF_OK;
}

rf_status rf_sweep_look(const rf_sweep *sweep, int64_t index, const rf_lock_holder *self,
                        rf_sweep_record *record)
{
    char lock[PATH_MAX];
    rf_lock_holder holder;
    RF_TRY(rf_sweep_path(sweep, index, "records", ".lock", lock));
    const rf_lock_state held = rf_run_lock_look(lock, self, &holder); /* before the record */
    RF_TRY(rf_sweep_recorded(sweep, index, record));
    record->holder = holder;
    if (held == RF_LOCK_HELD) record->state = RF_SWEEP_RUNNING;
    if (held != RF_LOCK_DEAD || record->state == RF_SWEEP_DONE) return RF_OK;
    record->state = RF_SWEEP_STOPPED;
    snprintf(record->message, sizeof record->message, "process %ld on %s was killed while it ran",
             holder.pid, holder.host);
    return RF_OK;
}

static json_t *pack(const char *id, const rf_sweep_record *record, const char *message)
{
    char ended[32];
    const time_t now = time(NULL);
    struct tm utc;
    strftime(ended, sizeof ended, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return json_pack("{s:s, s:s, s:i, s:s, s:f, s:I, s:i, s:i, s:s, s:s}", "id", id, "state",
                     rf_sweep_state_word(record->state), "code", record->code, "message", message,
                     "seconds", record->seconds, "tries", (json_int_t)record->tries, "ranks",
                     record->ranks, "threads", record->threads, "start", record->start, "ended",
                     ended);
}

rf_status rf_sweep_note(const rf_sweep *sweep, int64_t index, const rf_sweep_record *record)
{
    char path[PATH_MAX];
    const char *id = sweep->run[index].id;
    RF_TRY(rf_sweep_path(sweep, index, "records", ".json", path));
    json_t *object = pack(id, record, record->message);
    if (!object) /* a message that is not UTF-8 */
        object = pack(id, record, rf_status_meaning((rf_status)record->code));
    char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    json_decref(object);
    if (!text) return rf_fail(RF_RESOURCES, "no memory for the record of run '%s'", id);
    const rf_status status = rf_file_write(path, text, strlen(text));
    free(text);
    return status;
}
