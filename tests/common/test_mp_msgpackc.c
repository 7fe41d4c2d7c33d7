/* The cursor and the writers against msgpack-c, on random, damaged and senseless input. */
#include <math.h>
#include <msgpack.h>

#include "common/msg.h"
#include "tests/check_main.h"
#include "tests/common/mp_random.h"

#define ROUNDS 300000u

/* ---- Reading ---- */

/* Both read the same NaN or the same number. */
static void assert_same_float(double a, double b)
{
    must(a == b || (isnan(a) && isnan(b)));
}

static void assert_same_bytes(struct sc_slice slice, const char *bytes, uint32_t size)
{
    must(sc_slice_equal(slice, sc_slice(bytes, size)));
}

static void compare_number(struct sc_mp *mp, const msgpack_object *object)
{
    struct sc_mp again = *mp;
    uint64_t positive;
    int64_t whole;
    if (object->type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
        must(sc_mp_peek(mp) == SC_MP_UINT);
        must(sc_mp_uint(mp, &positive) && positive == object->via.u64);
        bool fits = object->via.u64 <= INT64_MAX;
        must(sc_mp_int(&again, &whole) == fits);
        must(!fits || whole == (int64_t)object->via.u64);
    } else {
        must(sc_mp_peek(mp) == SC_MP_INT);
        must(sc_mp_int(mp, &whole) && whole == object->via.i64);
        must(!sc_mp_uint(&again, &positive) && sc_mp_failed(&again));
    }
}

static void compare(struct sc_mp *mp, const msgpack_object *object);

static void compare_container(struct sc_mp *mp, const msgpack_object *object)
{
    uint32_t count;
    if (object->type == MSGPACK_OBJECT_ARRAY) {
        must(sc_mp_peek(mp) == SC_MP_ARRAY);
        must(sc_mp_array(mp, &count));
        must(count == object->via.array.size);
        for (uint32_t i = 0; i < count; i++) {
            compare(mp, &object->via.array.ptr[i]);
        }
        return;
    }
    must(sc_mp_peek(mp) == SC_MP_MAP);
    must(sc_mp_map(mp, &count));
    must(count == object->via.map.size);
    for (uint32_t i = 0; i < count; i++) {
        compare(mp, &object->via.map.ptr[i].key);
        compare(mp, &object->via.map.ptr[i].val);
    }
}

/* Reads with the cursor what msgpack-c has read (at most its 32 levels deep). */
static void compare(struct sc_mp *mp, const msgpack_object *object)
{
    bool truth;
    double number;
    int8_t type;
    struct sc_slice bytes;
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        must(sc_mp_peek(mp) == SC_MP_NIL && sc_mp_nil(mp));
        break;
    case MSGPACK_OBJECT_BOOLEAN:
        must(sc_mp_peek(mp) == SC_MP_BOOL && sc_mp_bool(mp, &truth));
        must(truth == object->via.boolean);
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        compare_number(mp, object);
        break;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        must(sc_mp_peek(mp) == SC_MP_FLOAT && sc_mp_float(mp, &number));
        assert_same_float(number, object->via.f64);
        break;
    case MSGPACK_OBJECT_STR:
        must(sc_mp_peek(mp) == SC_MP_STR && sc_mp_str(mp, &bytes));
        assert_same_bytes(bytes, object->via.str.ptr, object->via.str.size);
        break;
    case MSGPACK_OBJECT_BIN:
        must(sc_mp_peek(mp) == SC_MP_BIN && sc_mp_bytes(mp, &bytes));
        assert_same_bytes(bytes, object->via.bin.ptr, object->via.bin.size);
        break;
    case MSGPACK_OBJECT_EXT:
        must(sc_mp_peek(mp) == SC_MP_EXT && sc_mp_ext(mp, &type, &bytes));
        must(type == object->via.ext.type);
        assert_same_bytes(bytes, object->via.ext.ptr, object->via.ext.size);
        break;
    default:
        compare_container(mp, object);
        break;
    }
    must(!sc_mp_failed(mp));
}

/* Every reader on the same place: at most those of the right type succeed, the others fail the
 * cursor and leave their result alone, and none leaves the input. */
static void try_all_readers(struct sc_slice input)
{
    uint64_t number = 7;
    int64_t whole = 7;
    uint32_t count = 7;
    double real = 7;
    int8_t type = 7;
    bool truth = true;
    struct sc_slice bytes = {NULL, 7};
    struct sc_mp mp[10];
    for (size_t i = 0; i < 10; i++) {
        mp[i] = sc_mp(input);
    }
    bool done[10] = {
        sc_mp_nil(&mp[0]),           sc_mp_bool(&mp[1], &truth),
        sc_mp_uint(&mp[2], &number), sc_mp_int(&mp[3], &whole),
        sc_mp_float(&mp[4], &real),  sc_mp_str(&mp[5], &bytes),
        sc_mp_bytes(&mp[6], &bytes), sc_mp_array(&mp[7], &count),
        sc_mp_map(&mp[8], &count),   sc_mp_ext(&mp[9], &type, &bytes),
    };
    for (size_t i = 0; i < 10; i++) {
        must(done[i] == !sc_mp_failed(&mp[i]));
        must(!done[i] || (mp[i].at > (const uint8_t *)input.data && mp[i].at <= mp[i].end));
    }
    must(done[2] || number == 7);
    must(done[3] || whole == 7);
    must(done[5] || done[6] || done[9] || bytes.size == 7);
    must(done[7] || done[8] || count == 7);
}

/* Looks like an array or map that claims more values than there are bytes: msgpack-c would take
 * memory for all of them at once, gigabytes of it. */
static bool may_be_bomb(const struct sc_buf *input)
{
    for (size_t i = 0; i + 5 <= input->size; i++) {
        if ((input->data[i] | 2) == 0xdf && sc_be32_get(input->data + i + 1) > input->size) {
            return true;
        }
    }
    return false;
}

struct tally {
    unsigned accepted, refused, not_compared;
};

static void compare_input(const struct sc_buf *input, struct tally *tally)
{
    /* A block of the exact size, so that a sanitizer sees every step over the end. */
    uint8_t *exact = malloc(input->size + (input->size == 0));
    must(exact != NULL);
    memcpy(exact, input->data, input->size);
    struct sc_slice body = {exact, input->size};
    try_all_readers(body);
    struct sc_mp mp = sc_mp(body);
    struct sc_slice extent = {NULL, 0};
    bool ours = sc_mp_skip(&mp, &extent);
    struct sc_mp limited = sc_mp(body);
    bool stored = sc_mp_value(&limited, NULL);
    must(ours || !stored);
    if (!ours && may_be_bomb(input)) {
        tally->not_compared++;
        free(exact);
        return;
    }
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t offset = 0;
    msgpack_unpack_return theirs =
        msgpack_unpack_next(&unpacked, (const char *)exact, input->size, &offset);
    if (theirs == MSGPACK_UNPACK_NOMEM_ERROR) {
        tally->not_compared++; /* nested deeper than its 32 levels */
    } else {
        bool accepted = theirs == MSGPACK_UNPACK_SUCCESS;
        must(ours == accepted && stored == accepted);
        tally->accepted += accepted;
        tally->refused += !accepted;
        if (accepted) {
            must(extent.size == offset);
            must(limited.at == mp.at && mp.at == exact + offset);
            struct sc_mp reader = sc_mp(body);
            compare(&reader, &unpacked.data);
            must(reader.at == exact + offset);
        }
    }
    msgpack_unpacked_destroy(&unpacked);
    free(exact);
}

static void print_tally(const char *what, const struct tally *tally)
{
    printf("%s: %u accepted, %u refused by both, %u not comparable\n", what, tally->accepted,
           tally->refused, tally->not_compared);
    fflush(stdout);
}

START_TEST(well_formed_input_reads_as_msgpack_c_reads_it)
{
    struct test_random random = test_random_start("well-formed");
    struct tally tally = {0};
    struct sc_buf input = {0};
    for (unsigned i = 0; i < ROUNDS / 3; i++) {
        input.size = 0;
        random_value(&random, &input, 5);
        if (i % 2 == 0) {
            random_bytes(&random, &input, test_random_below(&random, 4)); /* what follows it */
        }
        compare_input(&input, &tally);
    }
    sc_buf_fini(&input);
    print_tally("well-formed", &tally);
    ck_assert_uint_eq(tally.accepted, ROUNDS / 3);
}
END_TEST

START_TEST(damaged_input_is_judged_as_msgpack_c_judges_it)
{
    struct test_random random = test_random_start("damaged");
    struct tally tally = {0};
    struct sc_buf input = {0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        input.size = 0;
        random_value(&random, &input, 5);
        random_damage(&random, &input);
        compare_input(&input, &tally);
    }
    sc_buf_fini(&input);
    print_tally("damaged", &tally);
    ck_assert_uint_gt(tally.accepted, ROUNDS / 20);
    ck_assert_uint_gt(tally.refused, ROUNDS / 20);
}
END_TEST

START_TEST(senseless_input_is_judged_as_msgpack_c_judges_it)
{
    struct test_random random = test_random_start("senseless");
    struct tally tally = {0};
    struct sc_buf input = {0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        input.size = 0;
        /* Mostly heads of containers and of wide values: bytes below 0x80 end a value at once. */
        for (uint64_t left = test_random_below(&random, 40); left > 0; left--) {
            uint8_t byte = (uint8_t)test_random_next(&random);
            byte |= (uint8_t)(test_random_below(&random, 2) << 7);
            sc_buf_append(&input, &byte, 1);
        }
        if (input.size == 0) {
            random_bytes(&random, &input, 1);
        }
        compare_input(&input, &tally);
    }
    sc_buf_fini(&input);
    print_tally("senseless", &tally);
}
END_TEST

/* ---- Writing ---- */

/* A number with a random count of bits, so that every width comes up. */
static uint64_t random_number(struct test_random *random)
{
    return test_random_next(random) >> test_random_below(random, 64);
}

/* Writes the same random thing with both. */
static void write_both(struct test_random *random, struct sc_buf *ours, msgpack_packer *theirs)
{
    static uint8_t bytes[70000];
    static const uint32_t sizes[] = {0,  1,  2,   3,   4,   5,   8,    15,    16,    17,
                                     31, 32, 254, 255, 256, 257, 1000, 65535, 65536, 70000};
    uint32_t size = sizes[test_random_below(random, sizeof sizes / sizeof *sizes)];
    uint64_t number = random_number(random);
    int64_t whole = (int64_t)number * (test_random_below(random, 2) == 0 ? -1 : 1);
    double real = (double)(int64_t)test_random_next(random) / 7;
    int8_t type = (int8_t)test_random_next(random);
    struct sc_slice slice = {bytes, size};
    switch (test_random_below(random, 10)) {
    case 0:
        sc_mp_put_nil(ours);
        msgpack_pack_nil(theirs);
        break;
    case 1:
        sc_mp_put_bool(ours, size & 1);
        (void)((size & 1) ? msgpack_pack_true(theirs) : msgpack_pack_false(theirs));
        break;
    case 2:
        sc_mp_put_uint(ours, number);
        msgpack_pack_uint64(theirs, number);
        break;
    case 3:
        sc_mp_put_int(ours, whole);
        msgpack_pack_int64(theirs, whole);
        break;
    case 4:
        sc_mp_put_float(ours, real);
        msgpack_pack_double(theirs, real);
        break;
    case 5:
        sc_mp_put_str(ours, slice);
        msgpack_pack_str_with_body(theirs, bytes, size);
        break;
    case 6:
        sc_mp_put_bin(ours, slice);
        msgpack_pack_bin_with_body(theirs, bytes, size);
        break;
    case 7:
        sc_mp_put_ext(ours, type, slice);
        msgpack_pack_ext_with_body(theirs, bytes, size, type);
        break;
    case 8:
        sc_mp_put_array(ours, (uint32_t)number);
        msgpack_pack_array(theirs, (uint32_t)number);
        break;
    default:
        sc_mp_put_map(ours, (uint32_t)number);
        msgpack_pack_map(theirs, (uint32_t)number);
        break;
    }
}

START_TEST(writers_write_what_msgpack_c_writes)
{
    struct test_random random = test_random_start("writers");
    struct sc_buf ours = {0};
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer theirs;
    msgpack_packer_init(&theirs, &buffer, msgpack_sbuffer_write);
    for (unsigned i = 0; i < ROUNDS / 10; i++) {
        ours.size = 0;
        msgpack_sbuffer_clear(&buffer);
        write_both(&random, &ours, &theirs);
        must(sc_slice_equal(sc_buf_slice(&ours), sc_slice(buffer.data, buffer.size)));
    }
    msgpack_sbuffer_destroy(&buffer);
    sc_buf_fini(&ours);
}
END_TEST

START_TEST(widths_change_where_they_should)
{
    static const int64_t edges[] = {
        0,  1,   127, 128,  255,  256,       65535,  65536,     UINT32_MAX,    INT64_MAX,
        -1, -32, -33, -128, -129, INT16_MIN, -32769, INT32_MIN, -2147483649LL, INT64_MIN};
    struct sc_buf ours = {0};
    msgpack_sbuffer buffer;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer theirs;
    msgpack_packer_init(&theirs, &buffer, msgpack_sbuffer_write);
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        sc_mp_put_int(&ours, edges[i]);
        msgpack_pack_int64(&theirs, edges[i]);
    }
    sc_mp_put_uint(&ours, UINT64_MAX);
    msgpack_pack_uint64(&theirs, UINT64_MAX);
    ck_assert(sc_slice_equal(sc_buf_slice(&ours), sc_slice(buffer.data, buffer.size)));
    struct sc_mp mp = sc_mp(sc_buf_slice(&ours));
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        int64_t number;
        ck_assert(sc_mp_int(&mp, &number) && number == edges[i]);
    }
    msgpack_sbuffer_destroy(&buffer);
    sc_buf_fini(&ours);
}
END_TEST

/* One message of each writer; msgpack-c reads each to its last byte. */
START_TEST(messages_are_read_by_msgpack_c)
{
    struct sc_slice key = sc_slice_str("key");
    struct sc_slice value = {"\xa2hi", 3};
    struct sc_msg_write_options options = {.has_ttl = true,
                                           .has_if_version = true,
                                           .has_sync = true,
                                           .ttl_ms = 1000,
                                           .if_version = UINT64_MAX};
    struct sc_msg_write_options if_version = {.has_if_version = true};
    struct sc_msg_scan scan = {key, key, 10, true, 16383};
    struct sc_msg_request item = {.raw = {"\x92\xa1k\xa2hi", 6}};
    uint64_t ttl_ms = 5;
    struct sc_buf messages[19] = {{0}};
    struct sc_buf *next = messages;
    sc_msg_put_op(next++, SC_OP_STATS, 0);
    sc_msg_put_key_request(next++, SC_OP_GET, key);
    sc_msg_put_raw_key_request(next++, SC_OP_GET, value);
    sc_msg_put_put(next++, key, value, NULL);
    sc_msg_put_put(next++, key, value, &options);
    sc_msg_put_del(next++, key, NULL);
    sc_msg_put_del(next++, key, &if_version);
    sc_msg_put_touch(next++, key, NULL);
    sc_msg_put_touch(next++, key, &ttl_ms);
    sc_msg_put_incr(next++, key, INT64_MIN);
    sc_msg_put_scan(next++, &scan, false);
    sc_msg_put_scan(next++, &scan, true);
    sc_msg_put_mput_item(next++, &item);
    sc_msg_reply_status(next++, SC_IO, "why");
    sc_msg_reply_uint(next++, UINT64_MAX);
    sc_msg_reply_int(next++, INT64_MIN);
    sc_msg_reply_bool(next++, true);
    sc_msg_reply_raw(next++, value);
    sc_msg_reply_moved(next++, "why", 7, key);
    ck_assert_ptr_eq(next, messages + sizeof messages / sizeof *messages);
    for (struct sc_buf *message = messages; message < next; message++) {
        msgpack_unpacked unpacked;
        msgpack_unpacked_init(&unpacked);
        size_t offset = 0;
        ck_assert_int_eq(
            msgpack_unpack_next(&unpacked, (const char *)message->data, message->size, &offset),
            MSGPACK_UNPACK_SUCCESS);
        ck_assert_uint_eq(offset, message->size);
        ck_assert_int_eq(unpacked.data.type, MSGPACK_OBJECT_ARRAY);
        struct sc_mp mp = sc_mp(sc_buf_slice(message));
        compare(&mp, &unpacked.data);
        msgpack_unpacked_destroy(&unpacked);
        sc_buf_fini(message);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mp against msgpack-c");
    TCase *tcase = tcase_create("mp");
    tcase_add_test(tcase, well_formed_input_reads_as_msgpack_c_reads_it);
    tcase_add_test(tcase, damaged_input_is_judged_as_msgpack_c_judges_it);
    tcase_add_test(tcase, senseless_input_is_judged_as_msgpack_c_judges_it);
    tcase_add_test(tcase, writers_write_what_msgpack_c_writes);
    tcase_add_test(tcase, widths_change_where_they_should);
    tcase_add_test(tcase, messages_are_read_by_msgpack_c);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
