#include "refract/data/chat.h"

#include <stdlib.h>
#include <string.h>

#include "chat_internal.h"

static const char *const role_names[] = {"system", "user", "assistant"};

void rf_chat_destroy(rf_chat **chat)
{
    if (!*chat) return;
    free((*chat)->bos);
    free((*chat)->eos);
    free((*chat)->preamble);
    free((*chat)->default_text);
    free(*chat);
    *chat = NULL;
}

const char *rf_chat_family(const rf_chat *chat)
{
    return chat->family;
}

static rf_bytes trimmed(rf_bytes text, int trim)
{
    static const char blanks[] = " \t\n\r\f\v";
    while (trim && text.length && memchr(blanks, text.at[0], 6)) {
        text.at++;
        text.length--;
    }
    while (trim && text.length && memchr(blanks, text.at[text.length - 1], 6)) text.length--;
    return text;
}

static rf_status open_turn(const rf_chat *chat, const char *role, rf_transcript *out)
{
    RF_TRY(rf_transcript_add(out, chat->marks->head, 0));
    RF_TRY(rf_transcript_add(out, role, 0));
    return rf_transcript_add(out, chat->marks->middle, 0);
}

static rf_status close_turn(const rf_chat *chat, int is_answer, rf_transcript *out)
{
    const char *end = chat->marks->end ? chat->marks->end : chat->eos;
    RF_TRY(rf_transcript_add(out, end, is_answer));
    return rf_transcript_add(out, chat->marks->tail, 0);
}

static rf_status marked_system(const rf_chat *chat, rf_bytes text, rf_transcript *out)
{
    RF_TRY(open_turn(chat, role_names[RF_SYSTEM], out));
    if (chat->preamble) RF_TRY(rf_transcript_add(out, chat->preamble, 0));
    RF_TRY(rf_transcript_append(out, trimmed(text, chat->trim), 0));
    return close_turn(chat, 0, out);
}

static rf_status render_marks(const rf_chat *chat, const rf_message *messages, int64_t count,
                              int reply, rf_transcript *out)
{
    if (chat->bos_first) RF_TRY(rf_transcript_add(out, chat->bos, 0));
    const char *text = chat->default_text ? chat->default_text : "";
    if ((chat->preamble || chat->default_text) && (count == 0 || messages[0].role != RF_SYSTEM))
        RF_TRY(marked_system(chat, (rf_bytes){text, strlen(text)}, out));
    for (int64_t i = 0; i < count; i++) {
        const rf_message *message = &messages[i];
        if (message->role == RF_SYSTEM && i == 0) {
            RF_TRY(marked_system(chat, message->content, out));
            continue;
        }
        const int is_answer = message->role == RF_ASSISTANT;
        RF_TRY(open_turn(chat, role_names[message->role], out));
        RF_TRY(rf_transcript_append(out, trimmed(message->content, chat->trim), is_answer));
        RF_TRY(close_turn(chat, is_answer, out));
    }
    return reply ? open_turn(chat, role_names[RF_ASSISTANT], out) : RF_OK;
}

/* `open` [SYSTEM] TEXT `close`; the system's text is trimmed together with the user's. */
static rf_status user_turn(const rf_chat *chat, rf_bytes text, const rf_bytes *system,
                           rf_transcript *out)
{
    const rf_chat_turns *turns = &chat->turns;
    rf_text joined = {0};
    rf_status status = RF_OK;
    if (system) {
        status = rf_text_add(&joined, turns->system_open);
        if (status == RF_OK) status = rf_text_append(&joined, system->at, system->length);
        if (status == RF_OK) status = rf_text_add(&joined, turns->system_close);
        if (status == RF_OK) status = rf_text_append(&joined, text.at, text.length);
        text = (rf_bytes){joined.bytes, joined.length};
    }
    if (status == RF_OK && turns->bos_each) status = rf_transcript_add(out, chat->bos, 0);
    if (status == RF_OK) status = rf_transcript_add(out, turns->open, 0);
    if (status == RF_OK) status = rf_transcript_append(out, trimmed(text, turns->trim_user), 0);
    if (status == RF_OK) status = rf_transcript_add(out, turns->close, 0);
    free(joined.bytes);
    return status;
}

static rf_status assistant_turn(const rf_chat *chat, rf_bytes text, rf_transcript *out)
{
    const rf_chat_turns *turns = &chat->turns;
    RF_TRY(rf_transcript_add(out, turns->lead, 1));
    RF_TRY(rf_transcript_append(out, trimmed(text, turns->trim_answer), 1));
    RF_TRY(rf_transcript_add(out, turns->trail, 1));
    RF_TRY(rf_transcript_add(out, chat->eos, 1));
    return rf_transcript_add(out, turns->after, 0);
}

/* The user turn that carries the system message. */
static int64_t system_turn(const rf_chat *chat, const rf_message *messages, int64_t count)
{
    if (chat->turns.place == RF_SYSTEM_FIRST) return 0;
    int64_t last = 0;
    for (int64_t i = 0; i < count; i++)
        if (messages[i].role == RF_USER) last = i;
    return last;
}

static rf_status render_turns(const rf_chat *chat, const rf_message *messages, int64_t count,
                              rf_transcript *out)
{
    rf_bytes text = {0};
    const rf_bytes *system = NULL;
    if (chat->default_text) {
        text = (rf_bytes){chat->default_text, strlen(chat->default_text)};
        system = &text;
    }
    if (count > 0 && messages[0].role == RF_SYSTEM) {
        if (chat->turns.place == RF_SYSTEM_REFUSED)
            return rf_fail(RF_INPUT, "the chat template has no place for a system message");
        system = &messages[0].content;
        messages++;
        count--;
    }
    const int64_t carrier = system_turn(chat, messages, count);
    if (chat->bos_first) RF_TRY(rf_transcript_add(out, chat->bos, 0));
    for (int64_t i = 0; i < count; i++) {
        if (messages[i].role != (i % 2 ? RF_ASSISTANT : RF_USER))
            return rf_fail(RF_INPUT, "the chat's roles do not alternate user, assistant");
        if (i % 2)
            RF_TRY(assistant_turn(chat, messages[i].content, out));
        else
            RF_TRY(user_turn(chat, messages[i].content, i == carrier ? system : NULL, out));
    }
    return RF_OK;
}

rf_status rf_chat_render(const rf_chat *chat, const rf_message *messages, int64_t count, int reply,
                         rf_transcript *pieces)
{
    return chat->marks ? render_marks(chat, messages, count, reply, pieces)
                       : render_turns(chat, messages, count, pieces);
}
