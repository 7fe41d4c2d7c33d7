/*
 * A server that does what it is asked through a direct handle of libshardcask: so that tests which
 * speak the wire protocol can put a load on the library, with all their checks.
 *
 *     direct_proxy LISTEN STORE [TIMEOUT_MS]
 *
 * Operations on one key are submitted or called, as their key's hash has it; batches are called;
 * all the rest is passed on as it is. Ends on SIGTERM.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "client/shardcask.h"
#include "common/limits.h"
#include "common/msg.h"
#include "common/slot.h"
#include "common/sp.h"

enum { THREADS = 8 };

/* A request that is being worked on. */
struct task {
    STAILQ_ENTRY(task) next;
    struct sc_sp_origin origin;
    struct sc_buf body;
    struct sc_buf reply;
    struct shardcask_op *ops;
    size_t count;
    bool many;
};

STAILQ_HEAD(task_list, task);

static const struct sc_msg_limits limits = {SC_VALUE_MAX_DEFAULT};
static struct shardcask *db;
static struct sc_sp_hub *hub;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct task_list tasks = STAILQ_HEAD_INITIALIZER(tasks);
static bool stop;

/* ---- Requests to operations ---- */

static bool to_op(const struct sc_msg_request *request, struct shardcask_op *op)
{
    static const struct {
        enum sc_op wire;
        enum shardcask_op_kind kind;
    } kinds[] = {
        {SC_OP_GET, SHARDCASK_OP_GET},   {SC_OP_PUT, SHARDCASK_OP_PUT},
        {SC_OP_DEL, SHARDCASK_OP_DEL},   {SC_OP_EXISTS, SHARDCASK_OP_EXISTS},
        {SC_OP_INCR, SHARDCASK_OP_INCR}, {SC_OP_TOUCH, SHARDCASK_OP_TOUCH},
        {SC_OP_META, SHARDCASK_OP_META},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i].wire == request->op) {
            *op = (struct shardcask_op){.kind = kinds[i].kind};
            op->key = request->key.data;
            op->key_size = request->key.size;
            op->value = request->value.data;
            op->value_size = request->value.size;
            op->delta = request->delta;
            op->options.ttl_ms = request->options.ttl_ms;
            op->options.if_version = request->options.if_version;
            op->options.flags = (request->options.has_if_version ? SHARDCASK_IF_VERSION : 0u) |
                                (!request->options.has_sync ? 0u
                                 : request->options.sync    ? SHARDCASK_SYNC
                                                            : SHARDCASK_NO_SYNC);
            return true;
        }
    }
    return false;
}

/* False when the request is none that the library has operations for. */
static bool take_apart(struct task *task)
{
    struct sc_msg_request request;
    char why[SC_WHY_SIZE];
    if (sc_msg_parse_request(sc_buf_slice(&task->body), &limits, &request, why) != SC_OK) {
        return false;
    }
    task->many = (sc_op_kind(request.op) & SC_OP_MULTI) != 0;
    task->count = task->many ? request.item_count : 1;
    task->ops = sc_calloc(task->count + 1, sizeof *task->ops);
    for (size_t i = 0; i < task->count; i++) {
        struct sc_msg_request item = request;
        if ((task->many && sc_msg_next_item(&request, &limits, &item, why) != SC_OK) ||
            !to_op(&item, &task->ops[i])) {
            return false;
        }
    }
    return true;
}

/* ---- Operations to replies ---- */

static void put_meta(const struct shardcask_meta *meta, struct sc_buf *out)
{
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, SC_OK);
    sc_mp_put_map(out, 2);
    sc_mp_put_cstr(out, "version");
    sc_mp_put_uint(out, meta->version);
    sc_mp_put_cstr(out, "shard");
    sc_mp_put_uint(out, meta->shard);
}

static void put_result(const struct shardcask_op *op, struct sc_buf *out)
{
    if (op->status != SHARDCASK_OK) {
        sc_msg_reply_status(out, op->status,
                            op->why != NULL ? op->why : shardcask_status_text(op->status));
        return;
    }
    switch (op->kind) {
    case SHARDCASK_OP_GET:
        sc_msg_reply_raw(out, sc_slice(op->result.data, op->result.size));
        break;
    case SHARDCASK_OP_PUT:
    case SHARDCASK_OP_TOUCH:
        sc_msg_reply_uint(out, op->version);
        break;
    case SHARDCASK_OP_DEL:
    case SHARDCASK_OP_EXISTS:
        sc_msg_reply_bool(out, op->existed);
        break;
    case SHARDCASK_OP_INCR:
        sc_msg_reply_int(out, op->number);
        break;
    case SHARDCASK_OP_META:
        put_meta(&op->meta, out);
        break;
    }
}

static void end_task(struct task *task)
{
    sc_sp_hub_lock(hub);
    sc_sp_reply(&task->origin, sc_buf_slice(&task->reply));
    sc_sp_hub_unlock(hub);
    for (size_t i = 0; i < task->count && task->ops != NULL; i++) {
        shardcask_op_clear(&task->ops[i]);
    }
    free(task->ops);
    sc_buf_fini(&task->body);
    sc_buf_fini(&task->reply);
    free(task);
}

static void put_results(struct task *task)
{
    if (task->many) {
        sc_mp_put_array(&task->reply, 2);
        sc_mp_put_uint(&task->reply, SC_OK);
        sc_mp_put_array(&task->reply, (uint32_t)task->count);
    }
    for (size_t i = 0; i < task->count; i++) {
        put_result(&task->ops[i], &task->reply);
    }
    end_task(task);
}

static void called_back(struct shardcask_op *op)
{
    put_results(op->arg);
}

/* ---- Doing it ---- */

static void call(struct shardcask_op *op)
{
    const struct shardcask_write *options = &op->options;
    const uint64_t *ttl = options->ttl_ms != 0 ? &options->ttl_ms : NULL;
    const void *key = op->key;
    size_t size = op->key_size;
    switch (op->kind) {
    case SHARDCASK_OP_GET:
        op->status = shardcask_get(db, key, size, &op->result);
        break;
    case SHARDCASK_OP_PUT:
        op->status = shardcask_put(db, key, size, op->value, op->value_size, options, &op->version);
        break;
    case SHARDCASK_OP_DEL:
        op->status = shardcask_del(db, key, size, options, &op->existed);
        break;
    case SHARDCASK_OP_EXISTS:
        op->status = shardcask_exists(db, key, size, &op->existed);
        break;
    case SHARDCASK_OP_INCR:
        op->status = shardcask_incr(db, key, size, op->delta, &op->number);
        break;
    case SHARDCASK_OP_TOUCH:
        op->status = shardcask_touch(db, key, size, ttl, &op->version);
        break;
    case SHARDCASK_OP_META:
        op->status = shardcask_meta(db, key, size, &op->meta);
        break;
    }
    op->why = op->status != SHARDCASK_OK ? strdup(shardcask_error()) : NULL;
}

static void pass_on(struct task *task)
{
    struct shardcask_value reply = SHARDCASK_VALUE_INIT;
    int status = shardcask_call(db, task->body.data, task->body.size, &reply);
    if (status == SHARDCASK_OK) {
        sc_buf_append(&task->reply, reply.data, reply.size);
    } else {
        sc_msg_reply_status(&task->reply, status, shardcask_error());
    }
    shardcask_value_free(&reply);
    task->count = 0;
    end_task(task);
}

static void work_on(struct task *task)
{
    if (!take_apart(task)) {
        pass_on(task);
    } else if (task->many) {
        (void)shardcask_batch(db, task->ops, task->count);
        put_results(task);
    } else {
        struct shardcask_op *op = &task->ops[0];
        op->arg = task;
        if (sc_slot_of_key(sc_slice(op->key, op->key_size)) % 2 == 0) {
            call(op);
            put_results(task);
        } else if (shardcask_submit(db, op, called_back) != SHARDCASK_OK) {
            op->status = SHARDCASK_UNAVAILABLE;
            put_results(task);
        }
    }
}

static void *work(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&lock);
    while (!stop) {
        struct task *task = STAILQ_FIRST(&tasks);
        if (task == NULL) {
            (void)pthread_cond_wait(&changed, &lock);
            continue;
        }
        STAILQ_REMOVE_HEAD(&tasks, next);
        (void)pthread_mutex_unlock(&lock);
        work_on(task);
        (void)pthread_mutex_lock(&lock);
    }
    (void)pthread_mutex_unlock(&lock);
    return NULL;
}

static void on_request(void *arg, const struct sc_sp_origin *origin, struct sc_slice body)
{
    (void)arg;
    struct task *task = sc_calloc(1, sizeof *task);
    task->origin = *origin;
    sc_buf_append_slice(&task->body, body);
    (void)pthread_mutex_lock(&lock);
    STAILQ_INSERT_TAIL(&tasks, task, next);
    (void)pthread_cond_signal(&changed);
    (void)pthread_mutex_unlock(&lock);
}

static bool start(char **argv, int argc)
{
    char why[SC_WHY_SIZE] = "";
    struct sc_sp_listener *listener;
    struct sc_sp_listener_options listening = {.url = argv[1], .on_request = on_request};
    struct sc_sp_hub_options hub_options = {.message_max = SC_MESSAGE_MAX_DEFAULT};
    struct shardcask_options options = {.direct = true,
                                        .timeout_ms = argc > 3 ? (uint32_t)atoi(argv[3]) : 0};
    if (shardcask_open(argv[2], &options, &db, why) != SHARDCASK_OK ||
        sc_sp_hub_open(&hub_options, &hub, why) != SC_OK ||
        sc_sp_listen(hub, &listening, &listener, why) != SC_OK) {
        (void)fprintf(stderr, "direct_proxy: %s\n", why);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    sigset_t signals;
    int number;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (argc < 3 || !start(argv, argc)) {
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, work, NULL) != 0) {
            abort();
        }
    }
    (void)sigwait(&signals, &number);
    (void)pthread_mutex_lock(&lock);
    stop = true;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    shardcask_close(db); /* calls back what was submitted */
    sc_sp_hub_close(hub, 0);
    return EXIT_SUCCESS; /* what was not begun is the system's to free */
}
