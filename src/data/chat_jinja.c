/* Recognises a chat template by what it writes, without running it. */
#include <stdlib.h>
#include <string.h>

#include "chat_internal.h"

static const rf_chat_marks chatml = {
    .head = "<|im_start|>", .middle = "\n", .end = "<|im_end|>", .tail = "\n"};
static const rf_chat_marks llama3 = {.head = "<|start_header_id|>",
                                     .middle = "<|end_header_id|>\n\n",
                                     .end = "<|eot_id|>",
                                     .tail = ""};
static const rf_chat_marks zephyr = {.head = "<|", .middle = "|>\n", .end = NULL, .tail = "\n"};

/* The plain form of each family, in the least Jinja that says it. */
static const struct {
    const char *family, *jinja;
} families[] = {
    {"chatml", "<|im_start|><|im_end|>\n"},
    {"llama-3",
     "{{ bos_token }}<|start_header_id|><|end_header_id|>{{ content | trim }}<|eot_id|>"},
    {"zephyr", "<|user|><|assistant|>{{ eos_token }}"},
    {"llama-2", "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
                "{{ ' ' + content.strip() + ' ' + eos_token }}<<SYS>>"},
    {"mistral", "{{ bos_token }}{{ '[INST] ' + content + '[/INST]' }}"
                "{{ ' ' + content | trim + eos_token }}{% if loop.first and system_message %}"},
};
enum { FAMILIES = sizeof families / sizeof families[0] };

#define SUPPORTED "chatml, llama-3, zephyr, llama-2, mistral"

/* Families that are refused by name, told by what only they write. */
static const struct {
    const char *mark, *family;
} refused[] = {
    {"<think>", "models that reason before they answer"},
    {"reasoning_content", "models that reason before they answer"},
    {"<start_of_turn>", "Gemma"},
    {"<|START_OF_TURN_TOKEN|>", "Command R"},
    {"GPT4 Correct", "OpenChat"},
    {"<\xEF\xBD\x9CUser\xEF\xBD\x9C>", "DeepSeek"},
    {"<|start_of_role|>", "Granite"},
    {"[gMASK]", "ChatGLM"},
    {"<|end|>", "Phi-3"},
    {"<|header_start|>", "Llama 4"},
    {"[SYSTEM_PROMPT]", "Mistral V7"},
};

static rf_status refuse(const char *what)
{
    return rf_fail(RF_USAGE,
                   "%s (the tokenizer's chat_template). Set data.template to one of " SUPPORTED
                   ", or prepare the data as input_ids and labels",
                   what);
}

static int has(const char *jinja, const char *word)
{
    return strstr(jinja, word) != NULL;
}

/* The text of a quoted literal at `from`, escapes resolved; NULL when it is none or memory ends. */
static char *literal(const char *from, const char *to, const char **behind)
{
    const char quote = from < to ? *from : '\0';
    char *text = quote == '\'' || quote == '"' ? malloc((size_t)(to - from)) : NULL, *out = text;
    if (!text) return NULL;
    for (from++; from < to && *from != quote; from++) {
        char c = *from;
        if (c == '\\' && from + 1 < to) {
            c = *++from;
            if (c == 'n') c = '\n';
            if (c == 't') c = '\t';
        }
        *out++ = c;
    }
    *out = '\0';
    if (behind) *behind = from + 1;
    if (from < to) return text;
    free(text);
    return NULL;
}

/* An expression {{ a + b + ... }}, term by term. */
typedef enum term_kind { OTHER, TEXT, CONTENT, SYSTEM, BOS, EOS } term_kind;

typedef struct term {
    term_kind kind;
    int trim;
    rf_chat_word text;
} term;

enum { TERMS = 6 };
typedef struct expression {
    term terms[TERMS];
    int count;
} expression;

static int within(const char *from, const char *to, const char *word)
{
    return memmem(from, (size_t)(to - from), word, strlen(word)) != NULL;
}

static term classify(const char *from, const char *to)
{
    term found = {.kind = OTHER};
    if (within(from, to, "system"))
        found.kind = SYSTEM;
    else if (within(from, to, "content"))
        found.kind = CONTENT;
    else if (within(from, to, "eos_token"))
        found.kind = EOS;
    else if (within(from, to, "bos_token"))
        found.kind = BOS;
    found.trim = within(from, to, "trim") || within(from, to, "strip");
    return found;
}

/* Reads one term from *at, leaving *at behind it. */
static term read_term(const char **at, const char *to)
{
    term found = {.kind = OTHER};
    const char *behind = to;
    char *text = literal(*at, to, &behind);
    if (text) {
        if (strlen(text) < RF_CHAT_WORD) {
            found.kind = TEXT;
            strcpy(found.text, text);
        }
        free(text);
    } else {
        behind = *at;
        while (behind < to && *behind != '+') behind++;
        found = classify(*at, behind);
    }
    while (behind < to && (*behind == ' ' || *behind == '\n')) behind++;
    if (behind < to && *behind != '+') found.kind = OTHER;
    *at = behind;
    return found;
}

static expression read_expression(const char *from, const char *to)
{
    expression e = {0};
    while (from < to && e.count < TERMS) {
        while (from < to && (*from == ' ' || *from == '-' || *from == '+' || *from == '\n')) from++;
        while (to > from && (to[-1] == ' ' || to[-1] == '-' || to[-1] == '\n')) to--;
        if (from < to) e.terms[e.count++] = read_term(&from, to);
    }
    return e;
}

/* Moves over a term of that kind, giving its text where it is one. */
static const term *take(const expression *e, int *at, term_kind kind)
{
    return *at < e->count && e->terms[*at].kind == kind ? &e->terms[(*at)++] : NULL;
}

static void keep(rf_chat_word word, const term *found)
{
    strcpy(word, found ? found->text : "");
}

/* [BOS +] '[INST] ' + CONTENT + ' [/INST]' */
static int read_user(const expression *e, rf_chat_turns *turns)
{
    int at = 0;
    turns->bos_each = take(e, &at, BOS) != NULL;
    const term *open = take(e, &at, TEXT), *content = take(e, &at, CONTENT);
    const term *close = take(e, &at, TEXT);
    if (!open || !content || !close || at != e->count) return 0;
    if (!has(open->text, "[INST]") || !has(close->text, "[/INST]")) return 0;
    keep(turns->open, open);
    keep(turns->close, close);
    turns->trim_user = content->trim;
    return 1;
}

/* [' ' +] CONTENT [+ ' '] + EOS [+ ' '] */
static int read_answer(const expression *e, rf_chat_turns *turns)
{
    int at = 0;
    const term *lead = take(e, &at, TEXT), *content = take(e, &at, CONTENT);
    const term *trail = take(e, &at, TEXT), *eos = take(e, &at, EOS), *after = take(e, &at, TEXT);
    if (!content || !eos || at != e->count) return 0;
    if ((lead && has(lead->text, "INST")) || (trail && has(trail->text, "INST"))) return 0;
    keep(turns->lead, lead);
    keep(turns->trail, trail);
    keep(turns->after, after);
    turns->trim_answer = content->trim;
    return 1;
}

static int same_user(const rf_chat_turns *a, const rf_chat_turns *b)
{
    return strcmp(a->open, b->open) == 0 && strcmp(a->close, b->close) == 0 &&
           a->bos_each == b->bos_each && a->trim_user == b->trim_user;
}

/* Finds the expressions that write a user's and an assistant's turn. */
static rf_status find_turns(const char *jinja, rf_chat_turns *turns)
{
    int users = 0, answers = 0;
    for (const char *from = strstr(jinja, "{{"); from; from = strstr(from, "{{")) {
        const char *to = strstr(from, "}}");
        if (!to) break;
        const expression e = read_expression(from + 2, to);
        rf_chat_turns found = *turns;
        if (read_user(&e, &found)) {
            if (users++ && !same_user(&found, turns))
                return refuse("user turns are written in two ways");
            *turns = found;
        } else if (read_answer(&e, turns))
            answers++;
        from = to;
    }
    if (users == 0) return refuse("no expression writes [INST] text [/INST]");
    if (answers != 1) return refuse("no one expression writes an answer and its end token");
    return RF_OK;
}

static void find_system_place(const char *jinja, rf_chat_turns *turns)
{
    turns->system_open = "";
    turns->system_close = "\n\n";
    if (has(jinja, "<<SYS>>")) {
        turns->place = RF_SYSTEM_FIRST;
        turns->system_open = "<<SYS>>\n";
        turns->system_close = "\n<</SYS>>\n\n";
    } else if (has(jinja, "loop.last and system_message"))
        turns->place = RF_SYSTEM_LAST;
    else if (has(jinja, "loop.first and system_message"))
        turns->place = RF_SYSTEM_FIRST;
    else
        turns->place = RF_SYSTEM_REFUSED;
}

/* The literal behind the first `name`, e.g. of {% set date_string = "..." %}; NULL if there is
 * none. */
static char *setting(const char *jinja, const char *name)
{
    for (const char *at = strstr(jinja, name); at; at = strstr(at, name)) {
        at += strlen(name);
        char *text = literal(at, at + strlen(at), NULL);
        if (text) return text;
    }
    return NULL;
}

static rf_status recognise_turns(rf_chat *chat, const char *jinja)
{
    chat->family = has(jinja, "<<SYS>>") ? "llama-2" : "mistral";
    RF_TRY(find_turns(jinja, &chat->turns));
    find_system_place(jinja, &chat->turns);
    chat->bos_first = !chat->turns.bos_each && has(jinja, "bos_token");
    /* Llama-2's switch for a default system message is the constant in this comparison. */
    if (has(jinja, "true == true")) chat->default_text = setting(jinja, "set system_message = ");
    return RF_OK;
}

/* <|im_start|>system\n...<|im_end|> in one literal: the message of chats that bring none. */
static void find_default_system(rf_chat *chat, const char *jinja)
{
    static const char head[] = "<|im_start|>system";
    for (const char *at = strstr(jinja, head); at && !chat->default_text;
         at = strstr(at + 1, head)) {
        char *text = at > jinja ? literal(at - 1, at + strlen(at), NULL) : NULL;
        char *end = text ? strstr(text, "<|im_end|>") : NULL;
        if (end && text[strlen(head)] == '\n') {
            *end = '\0';
            chat->default_text = strdup(text + strlen(head) + 1);
        }
        free(text);
    }
}

static rf_status recognise_chatml(rf_chat *chat, const char *jinja)
{
    static const char *const ends[] = {"<|im_end|>\n",           "<|im_end|>\\n",
                                       "<|im_end|>' + '\\n'",    "<|im_end|>'+'\\n'",
                                       "<|im_end|>\" + \"\\n\"", "<|im_end|>' + '\n'"};
    int closed = 0;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) closed |= has(jinja, ends[i]);
    if (!closed) return refuse("no line break follows <|im_end|>");
    chat->family = "chatml";
    chat->marks = &chatml;
    find_default_system(chat, jinja);
    return RF_OK;
}

/* Llama 3.1 and later open every chat with two dates; today's is fixed to the template's own
 * default. */
static rf_status recognise_llama3(rf_chat *chat, const char *jinja)
{
    chat->family = "llama-3";
    chat->marks = &llama3;
    if (!has(jinja, "Cutting Knowledge Date")) return RF_OK;
    char *date = setting(jinja, "set date_string = ");
    rf_text text = {0};
    rf_status status = rf_text_add(&text, "Cutting Knowledge Date: December 2023\nToday Date: ");
    if (status == RF_OK) status = rf_text_add(&text, date ? date : "26 Jul 2024");
    if (status == RF_OK) status = rf_text_add(&text, "\n\n");
    free(date);
    chat->preamble = text.bytes;
    return status;
}

static rf_status recognise_family(rf_chat *chat, const char *jinja)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (!has(jinja, refused[i].mark)) continue;
        rf_fail(RF_USAGE, "the chat template of %s is not supported", refused[i].family);
        return refuse(rf_status_message());
    }
    chat->trim = has(jinja, "| trim") || has(jinja, "|trim") || has(jinja, ".strip()");
    chat->bos_first = has(jinja, "bos_token");
    if (has(jinja, "<|im_start|>")) return recognise_chatml(chat, jinja);
    if (has(jinja, "<|start_header_id|>")) return recognise_llama3(chat, jinja);
    if (has(jinja, "[INST]")) return recognise_turns(chat, jinja);
    if (has(jinja, "<|user|>") && has(jinja, "<|assistant|>") && has(jinja, "eos_token")) {
        chat->family = "zephyr";
        chat->marks = &zephyr;
        return RF_OK;
    }
    return refuse("the chat template is of no known family");
}

static rf_status check_tokens(const rf_chat *chat)
{
    if (!chat->bos && (chat->bos_first || (!chat->marks && chat->turns.bos_each)))
        return refuse("the chat template wants a BOS token and the tokenizer names none");
    if (!chat->eos && (!chat->marks || !chat->marks->end))
        return refuse("the chat template wants an EOS token and the tokenizer names none");
    return RF_OK;
}

rf_status rf_chat_recognise(rf_chat **chat, const char *jinja, const char *bos, const char *eos)
{
    *chat = NULL;
    rf_chat *made = calloc(1, sizeof *made);
    if (!made) return rf_fail(RF_RESOURCES, "no memory for the chat template");
    made->bos = bos ? strdup(bos) : NULL;
    made->eos = eos ? strdup(eos) : NULL;
    rf_status status = recognise_family(made, jinja);
    if (status == RF_OK) status = check_tokens(made);
    if (status != RF_OK) rf_chat_destroy(&made);
    *chat = made;
    return status;
}

int rf_chat_is_family(const char *name)
{
    for (int i = 0; i < FAMILIES; i++)
        if (strcmp(families[i].family, name) == 0) return 1;
    return 0;
}

rf_status rf_chat_named(rf_chat **chat, const char *family, const char *bos, const char *eos)
{
    *chat = NULL;
    for (int i = 0; i < FAMILIES; i++)
        if (strcmp(families[i].family, family) == 0)
            return rf_chat_recognise(chat, families[i].jinja, bos, eos);
    return rf_fail(RF_USAGE, "unknown chat template '%s' (data.template). Known are " SUPPORTED,
                   family);
}
