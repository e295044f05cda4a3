#include "tiny_tokenizer.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const special[] = {"<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"};

static void write_added(FILE *out)
{
    for (int i = 0; i < TINY_BYTE; i++)
        fprintf(out,
                "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
                "\"rstrip\":false,\"normalized\":false,\"special\":true}",
                i ? "," : "", i, special[i]);
}

static void write_vocab(FILE *out)
{
    for (int i = 0; i < TINY_BYTE; i++) fprintf(out, "\"%s\":%d,", special[i], i);
    for (int b = 0; b < 256; b++) fprintf(out, "\"<0x%02X>\":%d,", (unsigned)b, TINY_BYTE + b);
    for (int c = ' '; c < 127; c++) {
        char piece[] = {(char)c, '\0'};
        const char *escape = c == '"' || c == '\\' ? "\\" : "";
        fprintf(out, "\"%s%s\":%d,", escape, c == ' ' ? "\u2581" : piece, TINY_CHAR + c - ' ');
    }
    fprintf(out, "\"ab\":%d,\"\u2581a\":%d", TINY_AB, TINY_BLANK_A);
}

char *tiny_tokenizer_json(int prepend)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out) abort();
    fprintf(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    write_added(out);
    fprintf(out, "],\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
    if (prepend) fprintf(out, "{\"type\":\"Prepend\",\"prepend\":\"\u2581\"},");
    fprintf(out,
            "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\u2581\"}]},"
            "\"pre_tokenizer\":null,\"post_processor\":{\"type\":\"TemplateProcessing\","
            "\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":"
            "\"A\",\"type_id\":0}}],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
            "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":{\"<s>\":{\"id\":\"<s>"
            "\",\"ids\":[%d],\"tokens\":[\"<s>\"]}}},\"decoder\":{\"type\":\"Sequence\","
            "\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\u2581\"},\"content\":"
            "\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]},\"model\":{\"type\":\"BPE\","
            "\"dropout\":null,\"unk_token\":\"<unk>\",\"continuing_subword_prefix\":null,"
            "\"end_of_word_suffix\":null,\"fuse_unk\":true,\"byte_fallback\":true,\"vocab\":{",
            TINY_BOS);
    write_vocab(out);
    fprintf(out, "},\"merges\":[\"a b\",\"\u2581 a\"]}}");
    fclose(out);
    return text;
}

const char *tiny_tokenizer_config(void)
{
    return "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"unk_token\":\"<unk>\","
           "\"add_bos_token\":true,\"add_eos_token\":false,\"chat_template\":\"{{'<|im_start|>' + "
           "m['role'] + '\\\\n' + m['content'] + '<|im_end|>' + '\\\\n'}}\"}";
}
