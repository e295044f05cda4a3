#include "tokenizer_parts.h"

/* Printable Latin-1 bytes stand for themselves; the other 68 are counted from U+0100 on. */
static int is_itself(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

/* Bytes below `byte` that are not themselves. */
static int others_below(int byte)
{
    if (byte <= ' ') return byte;
    if (byte <= 0xA0) return byte < 0x7F ? 33 : 33 + (byte - 0x7F);
    return 67; /* 33 controls and blank, 34 from 0x7F to 0xA0; then 0xAD */
}

static int32_t point_of(int byte)
{
    return is_itself(byte) ? byte : 0x100 + others_below(byte);
}

static int byte_of(int32_t point)
{
    if (point < 0x100) return is_itself(point) ? point : -1;
    const int32_t other = point - 0x100;
    if (other <= 32) return other;
    if (other < 67) return 0x7F + (other - 33);
    return other == 67 ? 0xAD : -1;
}

rf_status rf_alphabet_encode(rf_text *out, const char *bytes, size_t length)
{
    RF_TRY(rf_text_reserve(out, 2 * length));
    for (size_t i = 0; i < length; i++) {
        const int byte = (unsigned char)bytes[i];
        if (byte > ' ' && byte < 0x7F)
            out->bytes[out->length++] = bytes[i];
        else
            out->length += rf_utf8_write(out->bytes + out->length, point_of(byte));
    }
    out->bytes[out->length] = '\0';
    return RF_OK;
}

rf_status rf_alphabet_decode(rf_text *out, const char *text, size_t length, int *known)
{
    const size_t before = out->length;
    *known = 1;
    RF_TRY(rf_text_reserve(out, length));
    for (size_t at = 0; at < length;) {
        const int byte = byte_of(rf_utf8_next(text, &at));
        *known = byte >= 0;
        if (!*known) {
            out->length = before;
            return RF_OK;
        }
        out->bytes[out->length++] = (char)byte;
    }
    out->bytes[out->length] = '\0';
    return RF_OK;
}
