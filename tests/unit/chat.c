#include "rf_test.h"

#include <string.h>

#include "refract/data/chat.h"

#define TURN(role, text)                                                                           \
    {                                                                                              \
        role,                                                                                      \
        {                                                                                          \
            text, sizeof(text) - 1                                                                 \
        }                                                                                          \
    }

static const rf_message dialog[] = {
    TURN(RF_SYSTEM, "Be brief."), TURN(RF_USER, "Hello"),       TURN(RF_ASSISTANT, "Hi there"),
    TURN(RF_USER, "Who?"),        TURN(RF_ASSISTANT, "  Me  "),
};
enum { TURNS = sizeof dialog / sizeof dialog[0] };

/* The chat as text, answers in [[ ]]. */
static void expect_chat(const rf_chat *chat, const rf_message *messages, int64_t count, int reply,
                        const char *wanted)
{
    rf_transcript pieces = {0};
    char marked[2048] = "";
    assert_ok(rf_chat_render(chat, messages, count, reply, &pieces));
    for (int64_t i = 0; i < pieces.count; i++) {
        const rf_bytes bytes = rf_transcript_bytes(&pieces, i);
        if (pieces.spans[i].is_answer) strcat(marked, "[[");
        strncat(marked, bytes.at, bytes.length);
        if (pieces.spans[i].is_answer) strcat(marked, "]]");
    }
    assert_string_equal(marked, wanted);
    rf_transcript_free(&pieces);
}

static rf_chat *recognised(const char *jinja, const char *family)
{
    rf_chat *chat = NULL;
    assert_ok(rf_chat_recognise(&chat, jinja, "<s>", "</s>"));
    assert_string_equal(rf_chat_family(chat), family);
    return chat;
}

static void expect_dialog(const char *jinja, const char *family, const char *wanted)
{
    rf_chat *chat = recognised(jinja, family);
    expect_chat(chat, dialog, TURNS, 0, wanted);
    rf_chat_destroy(&chat);
    assert_null(chat);
}

static void chatml__plain__marks_answers_with_their_end(void **state)
{
    (void)state;
    const char *jinja =
        "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + "
        "'<|im_end|>' + '\\n'}}{% endfor %}";
    expect_dialog(
        jinja, "chatml",
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
        "<|im_start|>assistant\n[[Hi there<|im_end|>]]\n<|im_start|>user\nWho?<|im_end|>\n"
        "<|im_start|>assistant\n[[  Me  <|im_end|>]]\n");
    rf_chat *chat = recognised(jinja, "chatml");
    expect_chat(chat, dialog + 1, 1, 1,
                "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
    rf_chat_destroy(&chat);
}

static void chatml__default_system__is_written_where_none_is_given(void **state)
{
    (void)state;
    const char *jinja =
        "{% if messages[0]['role'] == 'system' %}{{- '<|im_start|>system\\n' + "
        "messages[0]['content'] + "
        "'<|im_end|>\\n' }}{%- else %}{{- '<|im_start|>system\\nIt\\'s me.<|im_end|>\\n' }}{% "
        "endif %}"
        "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}";
    rf_chat *chat = recognised(jinja, "chatml");
    expect_chat(chat, dialog + 1, 1, 0,
                "<|im_start|>system\nIt's me.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n");
    expect_chat(chat, dialog, 1, 0, "<|im_start|>system\nBe brief.<|im_end|>\n");
    rf_chat_destroy(&chat);
}

static void llama3__trims_and_starts_with_bos(void **state)
{
    (void)state;
    expect_dialog(
        "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ "
        "message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = "
        "bos_token + content %}{% endif %}{{ content }}",
        "llama-3",
        "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n[[Hi there<|eot_id|>]]"
        "<|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n[[Me<|eot_id|>]]");
}

static void llama31__opens_with_its_dates(void **state)
{
    (void)state;
    rf_chat *chat =
        recognised("{{- bos_token }}{% set date_string = strftime_now(\"%d %b %Y\") %}{%- set "
                   "date_string = \"26 Jul "
                   "2024\" %}{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}{{- "
                   "\"Cutting Knowledge Date: "
                   "December 2023\\n\" }}{{- message['content'] | trim }}{{- \"<|eot_id|>\" }}",
                   "llama-3");
    expect_chat(
        chat, dialog + 1, 1, 1,
        "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December "
        "2023\nToday Date: 26 Jul 2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>"
        "\n\nHello<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
    rf_chat_destroy(&chat);
}

static void zephyr__ends_turns_with_eos(void **state)
{
    (void)state;
    expect_dialog(
        "{% if message['role'] == 'user' %}\n{{ '<|user|>\\n' + message['content'] + eos_token }}"
        "\n{{ '<|system|>\\n' }}{{ '<|assistant|>\\n'  + message['content'] + eos_token }}",
        "zephyr",
        "<|system|>\nBe brief.</s>\n<|user|>\nHello</s>\n<|assistant|>\n[[Hi there</s>]]\n"
        "<|user|>\nWho?</s>\n<|assistant|>\n[[  Me  </s>]]\n");
}

static void llama2__puts_the_system_message_into_the_first_turn(void **state)
{
    (void)state;
    expect_dialog("{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + "
                  "message['content'] %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
                  "{{ ' '  + content.strip() + ' ' + eos_token }}",
                  "llama-2",
                  "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHello [/INST][[ Hi there </s>]]"
                  "<s>[INST] Who? [/INST][[ Me </s>]]");
}

static void mistral__old_form__has_bos_once_and_no_system(void **state)
{
    (void)state;
    const char *jinja =
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == "
        "'assistant' %}{{ message['content'] + eos_token + ' ' }}{% endif %}{% endfor %}";
    rf_chat *chat = recognised(jinja, "mistral");
    rf_transcript pieces = {0};
    expect_chat(chat, dialog + 1, 4, 0,
                "<s>[INST] Hello [/INST][[Hi there</s>]] [INST] Who? [/INST][[  Me  </s>]] ");
    assert_status(rf_chat_render(chat, dialog, TURNS, 0, &pieces), RF_INPUT);
    assert_message_has("system");
    rf_transcript_free(&pieces);
    rf_chat_destroy(&chat);
}

/* The released v3 template, shortened to what writes turns. */
static void mistral__v3__puts_the_system_message_into_the_last_turn(void **state)
{
    (void)state;
    expect_dialog(
        "{{- bos_token }}{%- if loop.last and system_message is defined %}{{- \"[INST] \" + "
        "system_message + \"\\n\\n\" + message[\"content\"] + \"[/INST]\" }}{%- else %}{{- "
        "\"[INST] "
        "\" + message[\"content\"] + \"[/INST]\" }}{% endif %}{{- \"]\" + eos_token }}"
        "{{- \" \" + message[\"content\"]|trim + eos_token}}",
        "mistral",
        "<s>[INST] Hello[/INST][[ Hi there</s>]][INST] Be brief.\n\nWho?[/INST][[ Me</s>]]");
}

static void mistral__v1__has_blanks_around(void **state)
{
    (void)state;
    expect_dialog(
        "{{- bos_token }}{%- if loop.first and system_message is defined %}\n{{- ' [INST] ' + "
        "system_message + '\\n\\n' + message['content'] + ' [/INST]' }}\n{%- else %}{{- ' [INST] ' "
        "+ message['content'] + ' [/INST]' }}{% endif %}{{- ' ' + message['content'] + "
        "eos_token}}",
        "mistral",
        "<s> [INST] Be brief.\n\nHello [/INST][[ Hi there</s>]] [INST] Who? [/INST]"
        "[[   Me  </s>]]");
}

static void named__every_family__can_be_asked_for(void **state)
{
    (void)state;
    static const char *const names[] = {"chatml", "llama-3", "zephyr", "llama-2", "mistral"};
    for (size_t i = 0; i < 5; i++) {
        rf_chat *chat = NULL;
        assert_true(rf_chat_is_family(names[i]));
        assert_ok(rf_chat_named(&chat, names[i], "<s>", "</s>"));
        assert_string_equal(rf_chat_family(chat), names[i]);
        rf_chat_destroy(&chat);
    }
    rf_chat *chat = NULL;
    assert_false(rf_chat_is_family("alpaca"));
    assert_status(rf_chat_named(&chat, "alpaca", "<s>", "</s>"), RF_USAGE);
    assert_message_has("chatml, llama-3");
    assert_ok(rf_chat_named(&chat, "mistral", "<s>", "</s>"));
    expect_chat(
        chat, dialog, TURNS, 0,
        "<s>[INST] Be brief.\n\nHello[/INST][[ Hi there</s>]][INST] Who?[/INST][[ Me</s>]]");
    rf_chat_destroy(&chat);
}

static void recognise__other_families__are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *jinja, *word;
    } others[] = {
        {"{{ '<start_of_turn>' + role }}", "Gemma"},
        {"{{'<|user|>' + message['content'] + '<|end|>'}}{{ eos_token }}<|assistant|>", "Phi-3"},
        {"<|im_start|><|im_end|>\n{% if '<think>' in content %}", "reason"},
        {"{{ 'USER: ' + message['content'] }}", "no known family"},
        {"{{ '<|im_start|>' + message['content'] + '<|im_end|>' }}", "no line break"},
        {"{{ '[INST] ' + foo(message) + '[/INST]' }}", "no expression writes [INST]"},
        {"{{ '[INST] ' + m.content + '[/INST]' }}{{ '[INST]' + m.content + '[/INST]' }}",
         "two ways"},
        {"{{ '[INST] ' + m.content + '[/INST]' }}{{ m.content }}", "an answer and its end token"},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        rf_chat *chat = NULL;
        assert_status(rf_chat_recognise(&chat, others[i].jinja, "<s>", "</s>"), RF_USAGE);
        assert_message_has(others[i].word);
        assert_null(chat);
    }
}

static void recognise__tokens_missing__is_usage(void **state)
{
    (void)state;
    rf_chat *chat = NULL;
    assert_status(rf_chat_named(&chat, "llama-3", NULL, "</s>"), RF_USAGE);
    assert_message_has("BOS");
    assert_status(rf_chat_named(&chat, "zephyr", "<s>", NULL), RF_USAGE);
    assert_message_has("EOS");
    assert_ok(rf_chat_named(&chat, "chatml", NULL, NULL));
    rf_chat_destroy(&chat);
}

static void render__roles_out_of_turn__is_input(void **state)
{
    (void)state;
    rf_chat *chat = NULL;
    rf_transcript pieces = {0};
    assert_ok(rf_chat_named(&chat, "mistral", "<s>", "</s>"));
    assert_status(rf_chat_render(chat, dialog + 2, 2, 0, &pieces), RF_INPUT);
    assert_message_has("alternate");
    rf_transcript_free(&pieces);
    rf_chat_destroy(&chat);
}

static const struct CMUnitTest chat[] = {
    cmocka_unit_test(chatml__plain__marks_answers_with_their_end),
    cmocka_unit_test(chatml__default_system__is_written_where_none_is_given),
    cmocka_unit_test(llama3__trims_and_starts_with_bos),
    cmocka_unit_test(llama31__opens_with_its_dates),
    cmocka_unit_test(zephyr__ends_turns_with_eos),
    cmocka_unit_test(llama2__puts_the_system_message_into_the_first_turn),
    cmocka_unit_test(mistral__old_form__has_bos_once_and_no_system),
    cmocka_unit_test(mistral__v3__puts_the_system_message_into_the_last_turn),
    cmocka_unit_test(mistral__v1__has_blanks_around),
    cmocka_unit_test(named__every_family__can_be_asked_for),
    cmocka_unit_test(recognise__other_families__are_refused_by_name),
    cmocka_unit_test(recognise__tokens_missing__is_usage),
    cmocka_unit_test(render__roles_out_of_turn__is_input),
};
RF_TEST_MAIN(chat)
