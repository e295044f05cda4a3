#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli_internal.h"
#include "refract/base/file.h"
#include "refract/comm/agree.h"
#include "refract/method/registry.h"
#include "refract/store/h5.h"

enum { LONGEST_INPUT = 1 << 24 };

static int is_h5(const char *path)
{
    static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char head[8] = {0};
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    const size_t got = fread(head, 1, sizeof head, file);
    fclose(file);
    return got == sizeof head && memcmp(head, signature, sizeof head) == 0;
}

/* The configuration that a checkpoint carries. */
static rf_status read_carried(const char *path, char **text, size_t *length)
{
    rf_h5 *file = NULL;
    RF_TRY(rf_h5_open(&file, path, RF_H5_READ, MPI_COMM_NULL));
    const rf_status status = rf_h5_get_text(file, "/", "config", text);
    rf_h5_close(&file);
    if (status == RF_OK) *length = strlen(*text);
    return status;
}

static rf_status read_on_root(const rf_cli *cli, const char *path, char **text, size_t *length)
{
    if (cli->rank != 0) return RF_OK;
    if (is_h5(path)) return read_carried(path, text, length);
    return rf_file_read(text, length, path, LONGEST_INPUT);
}

static rf_status parse(rf_config **config, const rf_cli_arguments *arguments, const char *text,
                       size_t length)
{
    const char *const *overrides = (const char *const *)(arguments->items + 1);
    RF_TRY(rf_config_parse(config, text, length, arguments->items[0], overrides,
                           arguments->count - 1));
    RF_TRY(rf_methods_check(*config));
    return rf_config_check(*config);
}

static void warn_of_unread_keys(rf_cli *cli, const rf_config *config)
{
    char keys[1024];
    if (cli->rank != 0 || rf_methods_unread_keys(config, keys, sizeof keys) == 0) return;
    char *rest = NULL;
    for (char *key = strtok_r(keys, "\n", &rest); key; key = strtok_r(NULL, "\n", &rest))
        rf_log_warning(&cli->log, "method '%s' does not read %s",
                       rf_config_string(config, "method"), key);
}

rf_status rf_cli_load_config(rf_cli *cli, const rf_cli_arguments *arguments, rf_config **config)
{
    *config = NULL;
    char *text = NULL;
    size_t length = 0;
    RF_TRY_ALL(cli->world, read_on_root(cli, arguments->items[0], &text, &length));
    rf_status status = rf_broadcast_bytes(cli->world, 0, &text, &length);
    if (status == RF_OK) status = rf_agree(cli->world, parse(config, arguments, text, length));
    free(text);
    if (status == RF_OK)
        warn_of_unread_keys(cli, *config);
    else
        rf_config_destroy(config);
    return status;
}

/* What items[0] is. */
typedef enum input_kind { INPUT_FILE, INPUT_RUN, INPUT_CHECKPOINT } input_kind;

static input_kind kind_of(const char *path)
{
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return INPUT_RUN;
    return is_h5(path) ? INPUT_CHECKPOINT : INPUT_FILE;
}

rf_status rf_cli_load_run(rf_cli *cli, const rf_cli_arguments *arguments, rf_config **config)
{
    int kind = (int)kind_of(arguments->items[0]); /* one rank looks, so that all go the same way */
    MPI_Bcast(&kind, 1, MPI_INT, 0, cli->world);
    if (kind == INPUT_FILE) return rf_cli_load_config(cli, arguments, config);
    char input[PATH_MAX], override[PATH_MAX];
    snprintf(input, sizeof input, "%.4000s%s", arguments->items[0],
             kind == INPUT_RUN ? "/config.yaml" : "");
    snprintf(override, sizeof override, "%s=%.4000s", kind == INPUT_RUN ? "output" : "eval.adapter",
             arguments->items[0]);
    rf_cli_arguments changed = {.count = arguments->count + 1};
    changed.items = calloc((size_t)changed.count, sizeof *changed.items);
    rf_status status =
        rf_agree(cli->world, changed.items ? RF_OK : rf_fail(RF_RESOURCES, "no memory"));
    if (status == RF_OK && changed.items) {
        changed.items[0] = input;
        changed.items[1] = override;
        for (int i = 1; i < arguments->count; i++) changed.items[i + 1] = arguments->items[i];
        status = rf_cli_load_config(cli, &changed, config);
    }
    free(changed.items);
    return status;
}
