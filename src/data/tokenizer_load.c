/* From files and JSON texts to a tokeniser. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "refract/base/file.h"
#include "tokenizer_private.h"

enum { MOST_BYTES = 1 << 30 };

static rf_status check_version(const json_t *root, const char *name)
{
    rf_bytes version = {0};
    RF_TRY(rf_part_bytes(root, "version", (rf_place){name, "version"}, &version));
    if (!version.at || strcmp(version.at, "1.0") == 0) return RF_OK;
    return rf_fail(RF_INPUT, "tokenizer.json of version '%.20s' is not known (%s). Known is 1.0",
                   version.at, name);
}

static rf_status read_parts(rf_tokenizer *t, const json_t *root, rf_matcher *matcher,
                            const char *name)
{
    RF_TRY(check_version(root, name));
    if (!t->model)
        RF_TRY(rf_bpe_read(&t->model, json_object_get(root, "model"), (rf_place){name, "model"}));
    RF_TRY(rf_normalizer_read(&t->normalizer, json_object_get(root, "normalizer"),
                              (rf_place){name, "normalizer"}));
    RF_TRY(rf_splitter_read(&t->splitter, json_object_get(root, "pre_tokenizer"),
                            (rf_place){name, "pre_tokenizer"}));
    RF_TRY(rf_added_read(&t->added, json_object_get(root, "added_tokens"), t->model, &t->normalizer,
                         matcher, (rf_place){name, "added_tokens"}));
    RF_TRY(rf_post_read(&t->post, json_object_get(root, "post_processor"), rf_tokenizer_size(t),
                        (rf_place){name, "post_processor"}));
    return rf_decoding_read(&t->decoder, json_object_get(root, "decoder"),
                            (rf_place){name, "decoder"});
}

static rf_status build(rf_tokenizer *tokenizer, rf_bytes json, const rf_side_files *files)
{
    json_t *root = NULL;
    rf_matcher matcher = {0};
    RF_TRY(rf_part_parse(&root, json.at, json.length, files->name));
    const rf_status status = read_parts(tokenizer, root, &matcher, files->name);
    rf_matcher_free(&matcher);
    json_decref(root);
    return status == RF_OK ? rf_tokenizer_apply_side_files(tokenizer, files) : status;
}

/* Takes *model where there is one. */
static rf_status create(rf_tokenizer **tokenizer, rf_bpe **model, rf_bytes json,
                        const rf_side_files *files)
{
    *tokenizer = calloc(1, sizeof **tokenizer);
    if (!*tokenizer) {
        if (model) rf_bpe_destroy(model);
        return rf_fail(RF_RESOURCES, "not enough memory for a tokeniser");
    }
    (*tokenizer)->bos = (*tokenizer)->eos = (*tokenizer)->pad = (*tokenizer)->unk = -1;
    if (model) {
        (*tokenizer)->model = *model;
        *model = NULL;
    }
    const rf_status status = build(*tokenizer, json, files);
    if (status != RF_OK) rf_tokenizer_destroy(tokenizer);
    return status;
}

rf_status rf_tokenizer_parse(rf_tokenizer **tokenizer, const char *json, size_t length,
                             const char *config_json, size_t config_length, const char *name)
{
    const rf_side_files files = {.config = {config_json, config_length}, .name = name};
    return create(tokenizer, NULL, (rf_bytes){json, length}, &files);
}

rf_status rf_tokenizer_from_bpe(rf_tokenizer **tokenizer, rf_bpe **model, const char *json,
                                size_t length, const char *config_json, size_t config_length,
                                const char *name)
{
    const rf_side_files files = {.config = {config_json, config_length}, .name = name};
    return create(tokenizer, model, (rf_bytes){json, length}, &files);
}

/* The folder, with its slash, and the file in it that `path` means. */
static rf_status locate(const char *path, char **folder, char **file)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return rf_fail(RF_INPUT, "no tokeniser here (%s). Give a tokenizer.json or its folder",
                       path);
    const char *slash = strrchr(path, '/');
    int failed = 0;
    if (S_ISDIR(info.st_mode)) {
        const char *end = path[0] && path[strlen(path) - 1] == '/' ? "" : "/";
        failed |= asprintf(folder, "%s%s", path, end) < 0;
        failed |= asprintf(file, "%s%stokenizer.json", path, end) < 0;
    } else {
        failed |= asprintf(folder, "%.*s", slash ? (int)(slash + 1 - path) : 0, path) < 0;
        failed |= asprintf(file, "%s", path) < 0;
    }
    return failed ? rf_fail(RF_RESOURCES, "not enough memory for a path") : RF_OK;
}

/* A folder with only a SentencePiece model in it deserves a better message than "no such file". */
static rf_status check_file(const char *folder, const char *file)
{
    if (access(file, F_OK) == 0) return RF_OK;
    return rf_fail(
        RF_INPUT,
        "no tokenizer.json (%s). A tokenizer.model alone is not read: save the tokeniser in its "
        "\"fast\" form",
        folder[0] ? folder : ".");
}

/* A file that may be missing. */
static rf_status read_if_there(const char *folder, const char *file, char **bytes, rf_bytes *text)
{
    char *path = NULL;
    rf_status status = RF_OK;
    if (asprintf(&path, "%s%s", folder, file) < 0)
        return rf_fail(RF_RESOURCES, "not enough memory for a path");
    if (access(path, F_OK) == 0) status = rf_file_read(bytes, &text->length, path, MOST_BYTES);
    if (status == RF_OK) text->at = *bytes;
    free(path);
    return status;
}

static rf_status load_located(rf_tokenizer **tokenizer, const char *folder, const char *file)
{
    char *json = NULL, *config = NULL, *tokens = NULL, *chat = NULL;
    rf_side_files files = {.name = file};
    size_t length = 0;
    rf_status status = check_file(folder, file);
    if (status == RF_OK) status = rf_file_read(&json, &length, file, MOST_BYTES);
    if (status == RF_OK)
        status = read_if_there(folder, "tokenizer_config.json", &config, &files.config);
    if (status == RF_OK)
        status = read_if_there(folder, "special_tokens_map.json", &tokens, &files.tokens);
    if (status == RF_OK) status = read_if_there(folder, "chat_template.jinja", &chat, &files.chat);
    if (status == RF_OK) status = create(tokenizer, NULL, (rf_bytes){json, length}, &files);
    free(json);
    free(config);
    free(tokens);
    free(chat);
    return status;
}

rf_status rf_tokenizer_load(rf_tokenizer **tokenizer, const char *path)
{
    char *folder = NULL, *file = NULL;
    *tokenizer = NULL;
    rf_status status = locate(path, &folder, &file);
    if (status == RF_OK) status = load_located(tokenizer, folder, file);
    free(folder);
    free(file);
    return status;
}

void rf_tokenizer_destroy(rf_tokenizer **tokenizer)
{
    rf_tokenizer *t = *tokenizer;
    if (!t) return;
    rf_bpe_destroy(&t->model);
    rf_added_free(&t->added);
    rf_normalizer_free(&t->normalizer);
    rf_splitter_free(&t->splitter);
    rf_post_free(&t->post);
    rf_decoding_free(&t->decoder);
    free(t->chat_template);
    free(t);
    *tokenizer = NULL;
}
