#include "coordinator/backend.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/msg.h"
#include "coordinator/introduction.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HELLO_TIMEOUT_MS SC_BACKEND_CLOCK_MS
#define FIGURES_MS 5000u /* so old may be what a shard says of its disk and memory */
#define CLOCK_OLD_MS 60000u /* so old a reading of its clock is not kept for being a good one */
#define ENTRY_RETRY_MS 1000u /* the map log is asked again for an entry that does not come */
#define REFUSAL_RETRY_MS 2000u /* a refused shard is asked again: its trouble may pass */

enum state { DOWN, HELLO, ADOPT, ADOPTED, GRANT, UP, REFUSED };

/* A step of the introduction: one call at a time. */
struct step {
    struct sc_backend_call call; /* must be first */
    struct sc_backend *backend;
};

struct sc_backend {
    const struct sc_backend_shared *shared; /* constant after open, like the next two */
    uint32_t shard_id;
    char url[SC_URL_MAX + 1];

    struct sc_sp_link *link;
    struct sc_lanes lanes;
    enum state state;
    char refusal[SC_WHY_SIZE]; /* why the shard was not granted anything */
    char why[SC_WHY_SIZE]; /* room for sc_backend_why */
    struct step step;
    bool step_busy;
    uint64_t retry_at_ms; /* when REFUSED, or ADOPTED */
    struct sc_introduction_hello hello;
    uint64_t hello_sent_ms, hello_replied_ms;
    struct step figures; /* asks again what it has, and for its clock */
    bool figures_busy;
    uint64_t figures_ms; /* when that was asked last */
    uint64_t step_epoch; /* of the grant on its way */
    uint64_t epoch; /* of the last grant since the shard was connected */
    bool grant_again; /* the map changed while a grant was on its way */
    bool closing;
};

const char *sc_backend_why(struct sc_backend *backend)
{
    const char *reason = backend->refusal;
    if (backend->state == DOWN || !sc_sp_link_up(backend->link)) {
        reason = sc_sp_link_why(backend->link);
    } else if (backend->state != REFUSED) {
        reason = "it is being introduced to the cluster";
    }
    sc_why(backend->why, "shard %" PRIu32 " at %s is unavailable: %.*s", backend->shard_id,
           backend->url, 200, reason[0] != '\0' ? reason : "it has not been reached yet");
    return backend->why;
}

/* ---- Messages ---- */

bool sc_backend_translate(const struct sc_backend *backend, uint64_t time_ms, uint64_t *theirs,
                          uint64_t *over_ms)
{
    /* The shard read its clock after the question was sent and before the answer came. */
    uint64_t clock_ms = backend->hello.clock_ms;
    *theirs = time_ms + (clock_ms - backend->hello_sent_ms);
    *over_ms = time_ms + (backend->hello_replied_ms - backend->hello_sent_ms) + 1;
    return clock_ms != 0;
}

struct sc_buf *sc_backend_begin(struct sc_backend *backend, struct sc_backend_call *call)
{
    uint32_t timeout_ms = backend->shared->timeout_ms;
    struct sc_buf *out = sc_sp_send_begin(backend->link, call, timeout_ms);
    uint64_t deadline_ms = 0;
    uint64_t unused = 0;
    if (sc_backend_translate(backend, sc_clock_mono_ms() + timeout_ms, &deadline_ms, &unused)) {
        sc_msg_put_by(out, deadline_ms);
    }
    return out;
}

void sc_backend_end(struct sc_backend *backend)
{
    sc_sp_send_end(backend->link);
}

void sc_backend_reset(struct sc_backend *backend, const char *trouble)
{
    if (sc_sp_link_up(backend->link)) {
        sc_log_error("closing the connection to %s: %s", backend->url, trouble);
        sc_sp_link_reset(backend->link, trouble);
    }
}

void sc_backend_bounce(struct sc_backend *backend, const struct sc_target *target,
                       struct sc_slice request)
{
    backend->shared->on_bounce(backend->shared->arg, backend, target, request);
}

void sc_backend_call(struct sc_backend *backend, struct sc_backend_call *call,
                     struct sc_slice request)
{
    if (!sc_backend_up(backend)) {
        call->done(call, SC_UNAVAILABLE, sc_slice(NULL, 0));
        return;
    }
    struct sc_buf *out = sc_backend_begin(backend, call);
    sc_buf_append_slice(out, request);
    sc_backend_end(backend);
}

/* ---- Introduction ---- */

/* The shard is not up any more. */
static void lose(struct sc_backend *backend)
{
    backend->epoch = 0;
    backend->grant_again = false;
    sc_lanes_fail(&backend->lanes, sc_backend_why(backend));
    backend->shared->on_change(backend->shared->arg, backend);
}

static void refuse(struct sc_backend *backend, const char *why)
{
    if (backend->state != REFUSED || strcmp(backend->refusal, why) != 0) {
        sc_log_error("shard %" PRIu32 " at %s is not used: %s", backend->shard_id, backend->url,
                     why);
    }
    bool was_up = backend->state == UP;
    backend->state = REFUSED;
    backend->retry_at_ms = sc_clock_mono_ms() + REFUSAL_RETRY_MS;
    sc_why(backend->refusal, "%s", why);
    if (was_up) {
        lose(backend);
    }
}

static void send_step(struct sc_backend *backend, enum state state, struct sc_slice request)
{
    if (!sc_sp_link_up(backend->link)) {
        return; /* the loss of the connection is about to make it DOWN */
    }
    backend->state = state;
    backend->step_busy = true;
    struct sc_buf *out = sc_sp_send_begin(backend->link, &backend->step, HELLO_TIMEOUT_MS);
    sc_buf_append_slice(out, request);
    sc_sp_send_end(backend->link);
}

/* `state`: HELLO, or REFUSED when a refused shard is asked once more. */
static void send_hello(struct sc_backend *backend, enum state state)
{
    struct sc_buf request = {0};
    sc_introduction_put_hello(&request);
    backend->hello_sent_ms = sc_clock_mono_ms();
    send_step(backend, state, sc_buf_slice(&request));
    sc_buf_fini(&request);
}

static void send_adopt(struct sc_backend *backend)
{
    struct sc_buf request = {0};
    sc_introduction_put_adopt(backend->shared->cluster, backend->shard_id, &request);
    send_step(backend, ADOPT, sc_buf_slice(&request));
    sc_buf_fini(&request);
}

static void send_grant(struct sc_backend *backend, enum state state)
{
    struct sc_buf request = {0};
    sc_introduction_put_grant(backend->shared->cluster, backend->shard_id, &request);
    backend->step_epoch = backend->shared->cluster->epoch;
    send_step(backend, state, sc_buf_slice(&request));
    sc_buf_fini(&request);
}

void sc_backend_grant(struct sc_backend *backend)
{
    if (backend->step_busy) {
        backend->grant_again = true;
    } else if ((backend->state == UP || backend->state == ADOPTED) &&
               backend->shared->may_grant(backend->shared->arg, backend)) {
        send_grant(backend, backend->state == UP ? UP : GRANT);
    }
}

void sc_backend_adopted(struct sc_backend *backend)
{
    if (backend->state == ADOPTED && !backend->step_busy) {
        sc_backend_grant(backend);
    }
}

static void request_log_entry(struct sc_backend *backend)
{
    backend->state = ADOPTED;
    backend->retry_at_ms = sc_clock_mono_ms() + ENTRY_RETRY_MS;
    if (sc_introduction_is_adopted(backend->shared->cluster, backend->shard_id)) {
        sc_backend_grant(backend);
    } else {
        backend->shared->on_adopted(backend->shared->arg, backend);
    }
}

static void judge(struct sc_backend *backend, struct sc_msg_reply *reply)
{
    char why[SC_WHY_SIZE];
    backend->hello_replied_ms = sc_clock_mono_ms();
    if (!sc_introduction_read_hello(reply, &backend->hello)) {
        refuse(backend, "what answers there is no shardcask shard");
        return;
    }
    switch (
        sc_introduction_judge(backend->shared->cluster, backend->shard_id, &backend->hello, why)) {
    case SC_INTRODUCTION_ADOPT:
        send_adopt(backend);
        break;
    case SC_INTRODUCTION_KNOWN:
        request_log_entry(backend);
        break;
    case SC_INTRODUCTION_REFUSE:
        refuse(backend, why);
        break;
    }
}

/* Nobody waits for the answer: a shard that does not know a setting goes on without it. */
static void on_config(struct sc_backend_call *call, enum sc_status status, struct sc_slice reply)
{
    (void)status;
    (void)reply;
    free(call);
}

/* A shard that was restarted knows its flags only, not what was changed since. */
static void send_config(struct sc_backend *backend)
{
    if (backend->shared->config->given == 0) {
        return;
    }
    struct sc_backend_call *call = sc_calloc(1, sizeof *call);
    struct sc_buf request = {0};
    call->done = on_config;
    sc_msg_put_op(&request, SC_OP_CONFIG, 1);
    sc_config_put(backend->shared->config, false, &request);
    sc_backend_call(backend, call, sc_buf_slice(&request));
    sc_buf_fini(&request);
}

static void granted(struct sc_backend *backend)
{
    bool new = backend->state != UP;
    if (backend->state != UP) {
        sc_log_info("shard %" PRIu32 " at %s is up", backend->shard_id, backend->url);
    }
    backend->state = UP;
    backend->epoch = backend->step_epoch;
    if (new) {
        send_config(backend);
    }
    if (backend->grant_again) {
        backend->grant_again = false;
        sc_backend_grant(backend);
    }
    backend->shared->on_change(backend->shared->arg, backend);
}

static void on_step(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    struct sc_backend *backend = ((struct step *)call)->backend;
    struct sc_msg_reply reply;
    backend->step_busy = false;
    if (status != SC_OK) {
        if (sc_sp_link_up(backend->link)) {
            sc_sp_link_reset(backend->link, "it gave no answer in time");
        }
        return; /* the loss of the connection makes it DOWN */
    }
    if (!sc_msg_parse_reply(body, &reply)) {
        refuse(backend, "what answers there is no shardcask shard");
    } else if (reply.status != SC_OK) {
        char why[SC_WHY_SIZE];
        sc_why(why, "it says: %.*s%s", (int)(reply.why.size < 255 ? reply.why.size : 255),
               (const char *)reply.why.data,
               reply.status == SC_DENIED ? " (is it a coordinator, and not a shard?)" : "");
        refuse(backend, why);
    } else if (backend->state == HELLO || backend->state == REFUSED) {
        judge(backend, &reply);
    } else if (backend->state == ADOPT) {
        request_log_entry(backend);
    } else if (backend->state == GRANT || backend->state == UP) {
        granted(backend);
    }
}

/* ---- Figures ---- */

/* The sooner it was answered the better is it known what its clock shows. One that was answered
 * late, by a shard that is busy, is worth less than an older one, unless they have drifted apart.
 */
static void note_clock(struct sc_backend *backend, uint64_t clock_ms)
{
    uint64_t now_ms = sc_clock_mono_ms();
    uint64_t took_ms = now_ms - backend->figures_ms;
    uint64_t took_before_ms = backend->hello_replied_ms - backend->hello_sent_ms;
    bool old = now_ms - backend->hello_replied_ms >= CLOCK_OLD_MS;
    if (clock_ms != 0 && took_ms <= SC_BACKEND_CLOCK_MS && (old || took_ms <= took_before_ms)) {
        backend->hello.clock_ms = clock_ms;
        backend->hello_sent_ms = backend->figures_ms;
        backend->hello_replied_ms = now_ms;
    }
}

/* Only what changes all the time is taken: the moves it takes part in stand as they were when it
 * was introduced. */
static void on_figures(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    struct sc_backend *backend = ((struct step *)call)->backend;
    struct sc_msg_reply reply;
    struct sc_introduction_hello hello;
    backend->figures_busy = false;
    if (status == SC_OK && sc_msg_parse_reply(body, &reply) && reply.status == SC_OK &&
        sc_introduction_read_hello(&reply, &hello)) {
        note_clock(backend, hello.clock_ms);
        backend->hello.keys = hello.keys;
        backend->hello.bytes = hello.bytes;
        backend->hello.disk_free = hello.disk_free;
        backend->hello.memory = hello.memory;
        backend->hello.memory_max = hello.memory_max;
    }
}

static void ask_figures(struct sc_backend *backend)
{
    struct sc_buf request = {0};
    backend->figures_ms = sc_clock_mono_ms();
    backend->figures_busy = true;
    sc_introduction_put_hello(&request);
    sc_backend_call(backend, &backend->figures.call, sc_buf_slice(&request));
    sc_buf_fini(&request);
}

void sc_backend_tick(struct sc_backend *backend)
{
    if (sc_backend_up(backend) && !backend->figures_busy &&
        sc_clock_mono_ms() - backend->figures_ms >= FIGURES_MS) {
        ask_figures(backend);
    }
    if (backend->state == ADOPTED && !backend->step_busy &&
        sc_clock_mono_ms() >= backend->retry_at_ms) {
        request_log_entry(backend); /* it may have failed */
    }
    if (backend->state == REFUSED && !backend->step_busy &&
        sc_clock_mono_ms() >= backend->retry_at_ms) {
        backend->retry_at_ms = UINT64_MAX; /* until the answer */
        send_hello(backend, REFUSED);
    }
}

/* ---- The link ---- */

static void on_state(void *arg, enum sc_sp_link_state state, const char *why)
{
    struct sc_backend *backend = arg;
    if (state == SC_SP_UP) {
        send_hello(backend, HELLO);
        return;
    }
    bool was_up = backend->state == UP;
    backend->state = DOWN;
    if (was_up && !backend->closing) {
        sc_log_warn("shard %" PRIu32 " at %s is down: %s", backend->shard_id, backend->url, why);
    }
    lose(backend);
}

static void on_reply(void *arg, void *tag, enum sc_status status, struct sc_slice body)
{
    struct sc_backend_call *call = tag;
    (void)arg;
    call->done(call, status, body);
}

enum sc_status sc_backend_open(const struct sc_backend_shared *shared, uint32_t shard_id,
                               const char *url, struct sc_backend **out, char *why)
{
    struct sc_backend *backend = sc_calloc(1, sizeof *backend);
    backend->shared = shared;
    backend->shard_id = shard_id;
    (void)snprintf(backend->url, sizeof backend->url, "%s", url);
    backend->step.call.done = on_step;
    backend->step.backend = backend;
    backend->figures.call.done = on_figures;
    backend->figures.backend = backend;
    sc_lanes_init(&backend->lanes, backend);
    struct sc_sp_link_options options = {
        .url = backend->url, .on_state = on_state, .on_reply = on_reply, .arg = backend};
    enum sc_status status = sc_sp_dial_locked(shared->hub, &options, &backend->link, why);
    if (status != SC_OK) {
        free(backend);
        return status;
    }
    *out = backend;
    return SC_OK;
}

void sc_backend_close(struct sc_backend *backend)
{
    if (backend == NULL) {
        return;
    }
    backend->closing = true;
    sc_sp_link_close(backend->link); /* ends what is in flight */
    backend->state = DOWN;
    sc_lanes_fail(&backend->lanes, "the shard is not used any more");
    sc_lanes_fini(&backend->lanes);
    free(backend);
}

uint32_t sc_backend_shard_id(const struct sc_backend *backend)
{
    return backend->shard_id;
}

/* A link that is lost is told of a little later (on_state): it must not be used meanwhile. */
bool sc_backend_up(const struct sc_backend *backend)
{
    return backend->state == UP && sc_sp_link_up(backend->link);
}

const char *sc_backend_url(const struct sc_backend *backend)
{
    return backend->url;
}

struct sc_sp_hub *sc_backend_hub(const struct sc_backend *backend)
{
    return backend->shared->hub;
}

struct sc_lanes *sc_backend_lanes(struct sc_backend *backend)
{
    return &backend->lanes;
}

uint64_t sc_backend_epoch(const struct sc_backend *backend)
{
    return sc_backend_up(backend) ? backend->epoch : 0;
}

const struct sc_introduction_hello *sc_backend_hello(const struct sc_backend *backend)
{
    return &backend->hello;
}
