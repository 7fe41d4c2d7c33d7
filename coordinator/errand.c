#include "coordinator/errand.h"

#include "common/failpoint.h"

#include <stdlib.h>

#define NEVER_CURRENT UINT64_MAX /* a serial: the answer does not matter from the start */

struct sc_errands {
    void (*answered)(void *arg, struct sc_errand_answer *answer); /* NULL: freed but for asks */
    void *arg;
    uint64_t serial; /* answers to what was asked under an earlier one do not matter */
    uint64_t asking; /* that were not answered, of any serial */
};

/* A question on its way. */
struct ask {
    struct sc_backend_call call; /* must be first */
    struct sc_errands *errands;
    uint64_t serial;
    enum sc_op op;
};

static void judge(enum sc_status status, struct sc_slice body, struct sc_errand_answer *answer)
{
    struct sc_msg_reply *reply = &answer->reply;
    if (status != SC_OK) {
        sc_why(answer->why, "a shard gave no answer");
        answer->verdict = SC_ERRAND_LOST;
        return;
    }
    if (!sc_msg_parse_reply(body, reply)) {
        *reply = (struct sc_msg_reply){0};
        sc_why(answer->why, "a shard sent a reply that makes no sense");
        answer->verdict = SC_ERRAND_FATAL;
        return;
    }
    size_t length = reply->why.size < 250 ? reply->why.size : 250;
    sc_why(answer->why, "%.*s", (int)length, length > 0 ? (const char *)reply->why.data : "");
    switch (reply->status) {
    case SC_OK:
        answer->verdict = SC_ERRAND_GOOD;
        break;
    case SC_BUSY:
    case SC_UNAVAILABLE:
        answer->verdict = SC_ERRAND_AGAIN;
        break;
    case SC_NOTFOUND:
        answer->verdict = SC_ERRAND_LOST;
        break;
    case SC_MISMATCH:
        answer->verdict = SC_ERRAND_OVER;
        break;
    default:
        answer->verdict = SC_ERRAND_FATAL;
        break;
    }
}

static void on_answer(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    struct ask *ask = (struct ask *)call;
    struct sc_errands *errands = ask->errands;
    struct sc_errand_answer answer = {.op = ask->op};
    bool current = ask->serial == errands->serial;
    free(ask);
    errands->asking--;
    if (errands->answered == NULL) {
        sc_errands_free(errands);
    } else if (current) {
        judge(status, body, &answer);
        errands->answered(errands->arg, &answer);
    } else {
        errands->answered(errands->arg, NULL);
    }
}

static void ask_once(struct sc_errands *errands, struct sc_backend *backend, enum sc_op op,
                     struct sc_slice request, uint64_t serial)
{
    struct ask *ask = sc_calloc(1, sizeof *ask);
    *ask = (struct ask){{on_answer}, errands, serial, op};
    errands->asking++;
    sc_backend_call(backend, &ask->call, request);
}

bool sc_errands_ask(struct sc_errands *errands, struct sc_backend *backend, enum sc_op op,
                    struct sc_buf *request)
{
    bool up = backend != NULL && sc_backend_up(backend);
    if (up) {
        ask_once(errands, backend, op, sc_buf_slice(request), errands->serial);
        if (sc_failpoint_action(sc_op_name(op)) == SC_FAILPOINT_REPEAT) {
            ask_once(errands, backend, op, sc_buf_slice(request), NEVER_CURRENT);
        }
    }
    sc_buf_fini(request);
    return up;
}

void sc_errands_forget(struct sc_errands *errands)
{
    errands->serial++;
}

struct sc_errands *sc_errands_alloc(void (*answered)(void *arg, struct sc_errand_answer *answer),
                                    void *arg)
{
    struct sc_errands *errands = sc_calloc(1, sizeof *errands);
    errands->answered = answered;
    errands->arg = arg;
    return errands;
}

void sc_errands_free(struct sc_errands *errands)
{
    if (errands != NULL) {
        errands->answered = NULL;
        if (errands->asking == 0) {
            free(errands);
        }
    }
}
