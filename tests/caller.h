/*
 * A client inside a test: one hub and one link to a server, and calls that wait for their reply.
 */
#ifndef SC_TESTS_CALLER_H
#define SC_TESTS_CALLER_H

#include <check.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "common/msg.h"
#include "common/sp.h"

struct caller {
    struct sc_sp_hub *hub;
    struct sc_sp_link *link;
    sem_t up;
};

/* One request on its way; several may be. */
struct call {
    sem_t done;
    enum sc_status outcome;
    struct sc_buf body;
    struct sc_msg_reply reply; /* points into body; if outcome is SC_OK */
};

static inline void caller_state(void *arg, enum sc_sp_link_state state, const char *why)
{
    struct caller *caller = arg;
    (void)why;
    if (state == SC_SP_UP) {
        sem_post(&caller->up);
    }
}

static inline void caller_reply(void *arg, void *tag, enum sc_status status, struct sc_slice body)
{
    struct call *call = tag;
    (void)arg;
    call->outcome = status;
    sc_buf_append_slice(&call->body, body);
    sem_post(&call->done);
}

/* Waits for a semaphore as long as any test may take; false when that was not enough. */
static inline bool caller_wait(sem_t *sem)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    return sem_timedwait(sem, &until) == 0;
}

static inline void caller_open(struct caller *caller, const char *url)
{
    char why[SC_WHY_SIZE];
    struct sc_sp_hub_options hub = {.message_max = 80u << 20};
    struct sc_sp_link_options link = {
        .url = url, .on_state = caller_state, .on_reply = caller_reply, .arg = caller};
    sem_init(&caller->up, 0, 0);
    ck_assert_int_eq(sc_sp_hub_open(&hub, &caller->hub, why), SC_OK);
    ck_assert_int_eq(sc_sp_dial(caller->hub, &link, &caller->link, why), SC_OK);
    ck_assert_msg(caller_wait(&caller->up), "no connection to %s", url);
}

static inline void caller_close(struct caller *caller)
{
    sc_sp_hub_close(caller->hub, 0);
    sem_destroy(&caller->up);
}

/* Sends a request; `request` is emptied for the next. */
static inline void call_start(struct caller *caller, struct call *call, struct sc_buf *request)
{
    *call = (struct call){.outcome = SC_OK};
    sem_init(&call->done, 0, 0);
    sc_sp_hub_lock(caller->hub);
    ck_assert(sc_sp_link_up(caller->link));
    struct sc_buf *out = sc_sp_send_begin(caller->link, call, 20000);
    sc_buf_append_slice(out, sc_buf_slice(request));
    sc_sp_send_end(caller->link);
    sc_sp_hub_unlock(caller->hub);
    request->size = 0;
}

/* True when the reply is there already. */
static inline bool call_ended(struct call *call)
{
    int value = 0;
    sem_getvalue(&call->done, &value);
    return value > 0;
}

/* Waits for the reply and returns its status. */
static inline int call_wait(struct call *call)
{
    ck_assert_msg(caller_wait(&call->done), "no reply");
    if (call->outcome != SC_OK) {
        return call->outcome;
    }
    ck_assert(sc_msg_parse_reply(sc_buf_slice(&call->body), &call->reply));
    return call->reply.status;
}

static inline void call_end(struct call *call)
{
    sem_destroy(&call->done);
    sc_buf_fini(&call->body);
}

#endif
