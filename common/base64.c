#include "common/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The 6 bits of a character; -1 when it is none of the alphabet. */
static int bits_of(uint8_t character)
{
    if (character >= 'A' && character <= 'Z') {
        return character - 'A';
    }
    if (character >= 'a' && character <= 'z') {
        return character - 'a' + 26;
    }
    if (character >= '0' && character <= '9') {
        return character - '0' + 52;
    }
    return character == '+' ? 62 : character == '/' ? 63 : -1;
}

void sc_base64_encode(struct sc_buf *out, struct sc_slice bytes)
{
    const uint8_t *from = bytes.data;
    uint8_t *to = sc_buf_reserve(out, (bytes.size + 2) / 3 * 4);
    for (size_t at = 0; at < bytes.size; at += 3) {
        size_t left = bytes.size - at;
        uint32_t group = (uint32_t)from[at] << 16;
        group |= left > 1 ? (uint32_t)from[at + 1] << 8 : 0;
        group |= left > 2 ? (uint32_t)from[at + 2] : 0;
        *to++ = (uint8_t)alphabet[group >> 18];
        *to++ = (uint8_t)alphabet[group >> 12 & 63];
        *to++ = left > 1 ? (uint8_t)alphabet[group >> 6 & 63] : '=';
        *to++ = left > 2 ? (uint8_t)alphabet[group & 63] : '=';
    }
    out->size += (bytes.size + 2) / 3 * 4;
}

/* Decodes four characters into `to`; returns how many bytes they gave, 0 when they are senseless.
 * Padding is allowed in the last group only. */
static size_t decode_group(const uint8_t *from, bool last, uint8_t *to)
{
    size_t padding = 0;
    if (last && from[3] == '=') {
        padding = from[2] == '=' ? 2 : 1;
    }
    uint32_t group = 0;
    for (size_t i = 0; i < 4 - padding; i++) {
        int bits = bits_of(from[i]);
        if (bits < 0) {
            return 0;
        }
        group |= (uint32_t)bits << (18 - 6 * i);
    }
    size_t size = 3 - padding;
    uint32_t stray = padding == 0 ? 0 : group & (padding == 1 ? 0xffu : 0xffffu);
    if (stray != 0) {
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)(group >> (16 - 8 * i));
    }
    return size;
}

bool sc_base64_decode(struct sc_buf *out, struct sc_slice text)
{
    if (text.size % 4 != 0) {
        return false;
    }
    const uint8_t *from = text.data;
    size_t start = out->size;
    uint8_t *to = sc_buf_reserve(out, text.size / 4 * 3);
    for (size_t at = 0; at < text.size; at += 4) {
        size_t size = decode_group(from + at, at + 4 == text.size, to);
        if (size == 0) {
            out->size = start;
            return false;
        }
        to += size;
        out->size += size;
    }
    return true;
}
