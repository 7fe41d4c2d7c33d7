/* What must hold for any bytes that are parsed as a message, whatever they are. Whoever includes
 * this defines must(condition): it ends the test when the condition does not hold. */
#ifndef SC_TESTS_MSG_CHECK_H
#define SC_TESTS_MSG_CHECK_H

#include "common/msg.h"

static inline bool inside(struct sc_slice slice, struct sc_slice body)
{
    const uint8_t *at = slice.data, *start = body.data;
    return at >= start && at + slice.size <= start + body.size;
}

/* A single-key request that was accepted keeps the contract. */
static inline void check_single(const struct sc_msg_request *single, struct sc_slice body,
                                const struct sc_msg_limits *bounds)
{
    must(inside(single->key, body) && inside(single->key_raw, body) && inside(single->raw, body));
    must(single->key.size >= 1 && single->key.size <= SC_KEY_MAX);
    const struct sc_msg_write_options *options = &single->options;
    must(!options->has_ttl || (options->ttl_ms >= 1 && options->ttl_ms <= SC_TTL_MS_MAX));
    if (single->op == SC_OP_PUT) {
        must(inside(single->value, body) && single->value.size <= bounds->value_max);
        must(sc_mp_valid(single->value));
    } else {
        must(single->value.size == 0);
    }
}

static inline void check_refusal(enum sc_status status, const char *sentence)
{
    must(status == SC_BADREQUEST || status == SC_TOOLARGE);
    must(sentence[0] != '\0' && strlen(sentence) < SC_WHY_SIZE);
}

static inline void check_items(struct sc_msg_request *list, struct sc_slice body,
                               const struct sc_msg_limits *bounds)
{
    for (uint32_t i = 0; i < list->item_count; i++) {
        struct sc_msg_request item;
        char sentence[SC_WHY_SIZE] = "";
        memset(&item, 0xa5, sizeof item);
        enum sc_status status = sc_msg_next_item(list, bounds, &item, sentence);
        must(inside(item.raw, body));
        if (status == SC_OK) {
            must((sc_op_kind(item.op) & SC_OP_SINGLE) != 0);
            check_single(&item, body, bounds);
        } else {
            check_refusal(status, sentence);
        }
    }
    must(!sc_mp_failed(&list->items));
}

/* Parses anything; what is accepted must be one whole value and keep the contract. Returns whether
 * it was. */
static inline bool check_message(struct sc_slice body, const struct sc_msg_limits *bounds,
                                 struct sc_msg_request *parsed)
{
    char sentence[SC_WHY_SIZE] = "";
    struct sc_msg_reply reply;
    if (sc_msg_parse_reply(body, &reply)) {
        must(reply.status >= 0 && reply.status <= SC_MSG_AGAIN);
        must(reply.why.size == 0 || inside(reply.why, body));
    }
    enum sc_status status = sc_msg_parse_request(body, bounds, parsed, sentence);
    if (status != SC_OK) {
        check_refusal(status, sentence);
        return false;
    }
    struct sc_mp whole = sc_mp(body);
    must(sc_mp_skip(&whole, NULL) && sc_mp_done(&whole));
    must(parsed->op < SC_OP_NONE);
    unsigned kind = sc_op_kind(parsed->op);
    if ((kind & SC_OP_SINGLE) != 0) {
        check_single(parsed, body, bounds);
    } else if ((kind & SC_OP_MULTI) != 0) {
        check_items(parsed, body, bounds);
    }
    return true;
}

#endif
