#include "tests/shard/cold_service.h"

#include "common/log.h"
#include "shard/fetch.h"
#include "shard/io.h"
#include "shard/service.h"

#include <stdio.h>

char url[128];
struct caller caller;
struct sc_buf request;
struct call call;

static char dir[64];
static char why[SC_WHY_SIZE];
static struct sc_bitcask *store;
static struct sc_service *service;

static const uint8_t cluster[16] = "0123456789abcdef";

/* ---- The shard ---- */

int ask(void)
{
    call_end(&call);
    call_start(&caller, &call, &request);
    return call_wait(&call);
}

static void grant_all(void)
{
    sc_msg_put_op(&request, SC_OP_X_ADOPT, 2);
    sc_mp_put_bin(&request, sc_slice(cluster, sizeof cluster));
    sc_mp_put_uint(&request, 1);
    ck_assert_int_eq(ask(), SC_OK);
    sc_msg_put_op(&request, SC_OP_X_GRANT, 5);
    sc_mp_put_bin(&request, sc_slice(cluster, sizeof cluster));
    sc_mp_put_uint(&request, 1);
    sc_mp_put_uint(&request, 1);
    sc_mp_put_uint(&request, 1);
    sc_mp_put_array(&request, 1);
    sc_mp_put_array(&request, 4);
    sc_mp_put_uint(&request, 0);
    sc_mp_put_uint(&request, SC_SLOT_COUNT - 1);
    sc_mp_put_uint(&request, 1);
    sc_mp_put_cstr(&request, url);
    ck_assert_int_eq(ask(), SC_OK);
}

static void open_service(void)
{
    const char *bound;
    struct sc_bitcask_options options = {.file_size_max = 1u << 20,
                                         .value_max = SC_VALUE_MAX_DEFAULT,
                                         .sync_ms = SC_BITCASK_SYNC_NEVER};
    struct sc_service_options limits = {.message_max = MESSAGE_MAX,
                                        .value_max = SC_VALUE_MAX_DEFAULT,
                                        .sync_ms = SC_BITCASK_SYNC_NEVER};
    char path[128];
    snprintf(path, sizeof path, "%s/store", dir);
    ck_assert_int_eq(sc_bitcask_open(path, &options, NULL, NULL, &store, why), SC_OK);
    ck_assert_int_eq(sc_service_open(store, &limits, &service, why), SC_OK);
    ck_assert_int_eq(sc_service_listen(service, url, &bound, why), SC_OK);
    caller_open(&caller, url);
}

void close_service(void)
{
    sc_service_close(service);
    service = NULL;
    ck_assert_int_eq(sc_bitcask_close(store), SC_OK);
}

void setup(void)
{
    sc_log_init("test", SC_LOG_ERROR);
    snprintf(dir, sizeof dir, "/tmp/sc-cold-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(url, sizeof url, "ipc://%s/s", dir);
    open_service();
    grant_all();
    sc_io_pretend_cold(1);
}

void teardown(void)
{
    char command[128];
    (void)sc_io_fault(0, 0, 0, false);
    sc_fetch_hold(false);
    caller_close(&caller);
    if (service != NULL) {
        close_service();
    }
    call_end(&call);
    sc_buf_fini(&request);
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

void wait_arrived(void)
{
    sc_msg_put_op(&request, SC_OP_PING, 0);
    ck_assert_int_eq(ask(), SC_OK);
}

void wait_held(unsigned count)
{
    const struct timespec pause = {.tv_nsec = 100000};
    for (int i = 0; i < 300000 && sc_fetch_held() < count; i++) {
        (void)nanosleep(&pause, NULL);
    }
    ck_assert_uint_eq(sc_fetch_held(), count);
}

/* ---- Requests ---- */

struct sc_slice encoded(const char *text)
{
    static struct sc_buf buf;
    buf.size = 0;
    sc_mp_put_cstr(&buf, text);
    return sc_buf_slice(&buf);
}

void put_get(const char *key)
{
    sc_msg_put_key_request(&request, SC_OP_GET, sc_slice_str(key));
}

void put_put(const char *key, const char *value)
{
    sc_msg_put_put(&request, sc_slice_str(key), encoded(value), NULL);
}

void put_incr(const char *key)
{
    sc_msg_put_incr(&request, sc_slice_str(key), 1);
}

void put_batch(enum sc_op op, uint32_t count)
{
    sc_msg_put_op(&request, op, 1);
    sc_mp_put_array(&request, count);
}

int ask_put(const char *key, const char *value)
{
    put_put(key, value);
    return ask();
}

void start(struct call *started)
{
    call_start(&caller, started, &request);
}

/* ---- Replies ---- */

void expect_str(struct sc_mp *mp, const char *expected)
{
    struct sc_slice text;
    ck_assert(sc_mp_str(mp, &text));
    ck_assert_msg(sc_slice_equal(text, sc_slice_str(expected)), "%.*s, not %s", (int)text.size,
                  (const char *)text.data, expected);
}

void expect_value(struct call *ended, const char *expected)
{
    ck_assert_int_eq(call_wait(ended), SC_OK);
    expect_str(&ended->reply.result, expected);
    call_end(ended);
}

int next_item(struct call *ended, struct sc_mp *result)
{
    uint32_t count;
    uint64_t status;
    struct sc_slice raw;
    ck_assert(sc_mp_skip(&ended->reply.result, &raw));
    *result = sc_mp(raw);
    ck_assert(sc_mp_array(result, &count));
    ck_assert(sc_mp_uint(result, &status));
    return (int)status;
}

void expect_items(struct call *ended, uint32_t expected)
{
    uint32_t count;
    ck_assert_int_eq(call_wait(ended), SC_OK);
    ck_assert(sc_mp_array(&ended->reply.result, &count));
    ck_assert_uint_eq(count, expected);
}

void ask_items(uint32_t expected)
{
    call_end(&call);
    start(&call);
    expect_items(&call, expected);
}

void expect_item_str(struct call *ended, const char *expected)
{
    struct sc_mp result;
    ck_assert_int_eq(next_item(ended, &result), SC_OK);
    expect_str(&result, expected);
}

void expect_item_int(struct call *ended, int64_t expected)
{
    struct sc_mp result;
    int64_t number;
    ck_assert_int_eq(next_item(ended, &result), SC_OK);
    ck_assert(sc_mp_int(&result, &number));
    ck_assert_int_eq(number, expected);
}

void expect_item_status(struct call *ended, int expected)
{
    struct sc_mp result;
    ck_assert_int_eq(next_item(ended, &result), expected);
}
