/* What tokenizer_config.json, special_tokens_map.json and chat_template.jinja add. */
#include <stdio.h>
#include <string.h>

#include "tokenizer_private.h"

/* A token as a string, or as an object with its content. */
static rf_status token_named(const rf_tokenizer *tokenizer, const json_t *file, const char *key,
                             rf_place place, int32_t *id)
{
    const json_t *value = json_object_get(file, key);
    rf_bytes content = {0};
    if (*id >= 0 || !value || json_is_null(value)) return RF_OK;
    if (json_is_object(value))
        RF_TRY(rf_part_wanted(value, "content", place, &content));
    else
        RF_TRY(rf_part_bytes(file, key, place, &content));
    *id = rf_tokenizer_find(tokenizer, content);
    return RF_OK;
}

static rf_status take_tokens(rf_tokenizer *tokenizer, const json_t *file, rf_place place)
{
    RF_TRY(token_named(tokenizer, file, "bos_token", place, &tokenizer->bos));
    RF_TRY(token_named(tokenizer, file, "eos_token", place, &tokenizer->eos));
    RF_TRY(token_named(tokenizer, file, "pad_token", place, &tokenizer->pad));
    return token_named(tokenizer, file, "unk_token", place, &tokenizer->unk);
}

/* A string, or a list of {name, template} of which "default" counts. */
static rf_status take_chat_template(rf_tokenizer *tokenizer, const json_t *file, rf_place place)
{
    const json_t *value = json_object_get(file, "chat_template");
    rf_bytes text = {0};
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            const json_t *item = json_array_get(value, i);
            rf_bytes name = {0};
            RF_TRY(rf_part_wanted(item, "name", place, &name));
            if (strcmp(name.at, "default") == 0)
                RF_TRY(rf_part_wanted(item, "template", place, &text));
        }
    } else {
        RF_TRY(rf_part_bytes(file, "chat_template", place, &text));
    }
    if (!text.at || tokenizer->chat_template) return RF_OK;
    return rf_text_copy(&tokenizer->chat_template, text.at, text.length);
}

static rf_status add_end(rf_ids *ids, int32_t id, const char *key, rf_place place)
{
    if (id >= 0) return rf_ids_append(ids, &id, 1);
    return rf_fail(RF_INPUT, "'%s' is true, but that token is not in the vocabulary (%s)", key,
                   place.file);
}

static rf_status take_ends(rf_tokenizer *tokenizer, const json_t *file, rf_place place)
{
    int bos = 0, eos = 0;
    RF_TRY(rf_part_bool(file, "add_bos_token", place, &bos));
    RF_TRY(rf_part_bool(file, "add_eos_token", place, &eos));
    if (tokenizer->post.given) return RF_OK;
    if (bos) RF_TRY(add_end(&tokenizer->post.before, tokenizer->bos, "add_bos_token", place));
    if (eos) RF_TRY(add_end(&tokenizer->post.behind, tokenizer->eos, "add_eos_token", place));
    return RF_OK;
}

static rf_status take_config(rf_tokenizer *tokenizer, const json_t *file, rf_place place)
{
    RF_TRY(take_chat_template(tokenizer, file, place));
    return take_ends(tokenizer, file, place);
}

/* Name of the file beside tokenizer.json. */
static void beside(char *name, size_t bytes, const char *tokenizer_name, const char *file)
{
    const char *slash = strrchr(tokenizer_name, '/');
    snprintf(name, bytes, "%.*s%s", slash ? (int)(slash + 1 - tokenizer_name) : 0, tokenizer_name,
             file);
}

static rf_status with_files(rf_tokenizer *tokenizer, const json_t *config, rf_place config_place,
                            const json_t *tokens, rf_place tokens_place)
{
    RF_TRY(take_tokens(tokenizer, config, config_place));
    RF_TRY(take_tokens(tokenizer, tokens, tokens_place));
    return take_config(tokenizer, config, config_place);
}

rf_status rf_tokenizer_apply_side_files(rf_tokenizer *tokenizer, const rf_side_files *files)
{
    char config_name[512], tokens_name[512];
    json_t *config = NULL, *tokens = NULL;
    rf_status status = RF_OK;
    beside(config_name, sizeof config_name, files->name, "tokenizer_config.json");
    beside(tokens_name, sizeof tokens_name, files->name, "special_tokens_map.json");
    if (files->chat.at)
        status = rf_text_copy(&tokenizer->chat_template, files->chat.at, files->chat.length);
    if (status == RF_OK && files->config.at)
        status = rf_part_parse(&config, files->config.at, files->config.length, config_name);
    if (status == RF_OK && files->tokens.at)
        status = rf_part_parse(&tokens, files->tokens.at, files->tokens.length, tokens_name);
    if (status == RF_OK)
        status = with_files(tokenizer, config, (rf_place){config_name, "special tokens"}, tokens,
                            (rf_place){tokens_name, "special tokens"});
    json_decref(config);
    json_decref(tokens);
    return status;
}
