#include "shard/keydir.h"

#include "common/bytes.h"
#include "tests/check_main.h"
#include "tests/shard/keydir_keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

/* ---- The model: every key there is, in the order of scans, and what should be known of it ---- */

enum { KEYS = 3000, CROWDED_SLOT = 77, CROWDED_TAGS = 24 };

struct model_key {
    struct sc_slice key;
    uint64_t hash;
    bool present;
    bool tombstone;
    bool swept; /* a tombstone that was a put and has expired */
    uint64_t id; /* of the location: each is used once */
    uint64_t expires_ms;
    uint64_t version;
};

struct model {
    struct sc_keydir *keydir;
    struct model_key keys[KEYS];
    size_t count;
    uint64_t seed;
    uint64_t next_id;
    uint64_t cleared[SC_SLOT_COUNT];
    bool versions[SC_SLOT_COUNT]; /* slots that have versions, once opened */
    struct sc_buf removed; /* ids told to a callback, 8 bytes each */
    bool tombstones_told;
};

static int compare_model_keys(const void *a, const void *b)
{
    const struct model_key *left = a;
    const struct model_key *right = b;
    if (left->hash != right->hash) {
        return left->hash < right->hash ? -1 : 1;
    }
    size_t size = left->key.size < right->key.size ? left->key.size : right->key.size;
    int order = memcmp(left->key.data, right->key.data, size);
    return order != 0 ? order
                      : (left->key.size > right->key.size) - (left->key.size < right->key.size);
}

static struct sc_slice owned_key(struct sc_slice key)
{
    uint8_t *data = sc_alloc(key.size);
    memcpy(data, key.data, key.size);
    return sc_slice(data, key.size);
}

static struct sc_slice random_key(struct model *model)
{
    static const size_t sizes[] = {1, 2, 16, 62, 63, 64, 255, 256, 1000, SC_KEY_MAX};
    size_t size = test_below(&model->seed, 8) > 0
                      ? 1 + test_below(&model->seed, 40)
                      : sizes[test_below(&model->seed, sizeof sizes / sizeof *sizes)];
    uint8_t *data = sc_alloc(size);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)test_random(&model->seed);
    }
    return sc_slice(data, size);
}

static struct model *model_alloc(uint64_t seed)
{
    struct model *model = sc_calloc(1, sizeof *model);
    static const uint64_t one_tag[] = {ONE_TAG_SUFFIX_A, ONE_TAG_SUFFIX_B};
    uint64_t crowded[CROWDED_TAGS];
    uint64_t suffix = seed << 32;
    uint8_t room[COLLIDING_SIZE];
    model->seed = seed;
    model->next_id = 1;
    ck_assert_uint_eq(suffix_hash(one_tag[0]) >> 34, suffix_hash(one_tag[1]) >> 34);
    ck_assert_uint_ne(suffix_hash(one_tag[0]), suffix_hash(one_tag[1]));
    for (size_t i = 0; i < CROWDED_TAGS; i++) {
        crowded[i] = suffix_in_slot(&suffix, CROWDED_SLOT);
    }
    for (size_t i = 0; i < KEYS; i++) {
        if (i % 3 == 0) {
            model->keys[i].key = random_key(model);
        } else {
            suffix = i % 3 == 1 ? one_tag[i / 3 % 2] : crowded[i / 3 % CROWDED_TAGS];
            model->keys[i].key = owned_key(colliding_key(room, suffix, test_random(&model->seed)));
        }
        model->keys[i].hash = sc_slot_hash(model->keys[i].key);
    }
    qsort(model->keys, KEYS, sizeof *model->keys, compare_model_keys);
    for (size_t i = 0; i < KEYS; i++) {
        if (model->count > 0 &&
            sc_slice_equal(model->keys[i].key, model->keys[model->count - 1].key)) {
            free((void *)model->keys[i].key.data);
        } else {
            model->keys[model->count++] = model->keys[i];
        }
    }
    model->keydir = sc_keydir_alloc();
    return model;
}

static void model_free(struct model *model)
{
    sc_keydir_free(model->keydir);
    sc_buf_fini(&model->removed);
    for (size_t i = 0; i < model->count; i++) {
        free((void *)model->keys[i].key.data);
    }
    free(model);
}

/* ---- Comparing keydir and model ---- */

/* Check notes every assertion that holds in a file: too slow for millions. */
static void expect(bool holds, const char *what)
{
    if (!holds) {
        ck_abort_msg("%s", what);
    }
}

#define EXPECT(condition) expect(condition, #condition)

static struct sc_location location_of(uint64_t id)
{
    return (struct sc_location){(uint32_t)(id * 2654435761 % SC_LOCATION_FILES_MAX),
                                (uint32_t)(8 + id * 7919 % ((1u << 23) - 1) * 8), id * 8};
}

static void assert_location(struct sc_location location, uint64_t id)
{
    struct sc_location want = location_of(id);
    EXPECT(location.offset == want.offset);
    EXPECT(location.size == want.size);
    EXPECT(location.file == want.file);
}

static bool live(const struct model_key *key)
{
    return key->present && !key->tombstone;
}

static void assert_entry(const struct sc_keydir_entry *entry, const struct model_key *key)
{
    EXPECT(sc_slice_equal(entry->key, key->key));
    EXPECT(entry->hash == key->hash);
    EXPECT(entry->expires_ms == key->expires_ms);
    assert_location(entry->location, key->id);
}

static void assert_find(const struct model *model, const struct model_key *key)
{
    struct sc_keydir_entry entry = {.expires_ms = 4711};
    bool found = sc_keydir_find(model->keydir, key->key, key->hash, &entry);
    EXPECT(found == live(key));
    if (found) {
        assert_entry(&entry, key);
    } else {
        EXPECT(entry.expires_ms == 4711);
    }
}

static void assert_all(const struct model *model)
{
    uint64_t count = 0;
    uint64_t crowded = 0;
    uint64_t bytes = 0;
    sc_keydir_check(model->keydir);
    for (size_t i = 0; i < model->count; i++) {
        assert_find(model, &model->keys[i]);
        count += live(&model->keys[i]);
        if (live(&model->keys[i]) && model->keys[i].hash >> 50 == CROWDED_SLOT) {
            crowded++;
            bytes += location_of(model->keys[i].id).size;
        }
    }
    ck_assert_uint_eq(sc_keydir_count(model->keydir), count);
    ck_assert_uint_eq(sc_keydir_slot_count(model->keydir, CROWDED_SLOT), crowded);
    ck_assert_uint_eq(sc_keydir_slot_bytes(model->keydir, CROWDED_SLOT), bytes);
}

/* ---- What the callbacks were told ---- */

static void note_removed(void *arg, struct sc_location location)
{
    struct model *model = arg;
    uint64_t id = location.offset / 8;
    assert_location(location, id);
    sc_buf_append(&model->removed, &id, sizeof id);
}

static void note_cleared(void *arg, struct sc_location location, bool tombstone)
{
    struct model *model = arg;
    model->tombstones_told |= tombstone;
    note_removed(arg, location);
}

static bool was_told(const struct model *model, uint64_t id)
{
    for (size_t at = 0; at < model->removed.size; at += sizeof id) {
        if (memcmp(model->removed.data + at, &id, sizeof id) == 0) {
            return true;
        }
    }
    return false;
}

/* The model loses a key that a callback must have been told of. */
static size_t forget_told(struct model *model, struct model_key *key)
{
    EXPECT(was_told(model, key->id));
    *key = (struct model_key){.key = key->key, .hash = key->hash};
    return sizeof key->id;
}

/* ---- Random operations on both ---- */

enum { NOW_MS = 1000 };

static uint64_t random_expiry(struct model *model)
{
    return test_below(&model->seed, 3) > 0 ? 0 : 1 + test_below(&model->seed, 2 * NOW_MS);
}

static void do_set(struct model *model, struct model_key *key)
{
    struct sc_location old;
    uint64_t id = model->next_id++;
    uint64_t expires_ms = random_expiry(model);
    uint64_t version = id + 10000; /* larger than any that is offered */
    bool was = sc_keydir_set(model->keydir, key->key, key->hash, location_of(id), expires_ms,
                             version, &old);
    EXPECT(was == live(key));
    if (was) {
        assert_location(old, key->id);
    }
    *key = (struct model_key){key->key, key->hash, true, false, false, id, expires_ms, version};
}

static void do_remove(struct model *model, struct model_key *key)
{
    struct sc_location old;
    bool was = sc_keydir_remove(model->keydir, key->key, key->hash, &old);
    EXPECT(was == live(key));
    if (was) {
        assert_location(old, key->id);
    }
    *key = (struct model_key){.key = key->key, .hash = key->hash};
}

static void do_relocate(struct model *model, struct model_key *key)
{
    uint64_t id = model->next_id++;
    bool right = test_below(&model->seed, 2) > 0;
    uint64_t from = right ? key->id : id;
    bool moved =
        sc_keydir_relocate(model->keydir, key->key, key->hash, location_of(from), location_of(id));
    EXPECT(moved == (right && live(key)));
    key->id = moved ? id : key->id;
}

static void do_sweep(struct model *model, uint32_t slot)
{
    uint64_t now_ms = NOW_MS / 2 + test_below(&model->seed, NOW_MS);
    sc_buf_reset(&model->removed, SIZE_MAX);
    uint64_t swept = sc_keydir_sweep_slot(model->keydir, slot, now_ms, note_removed, model);
    size_t told = 0;
    for (size_t i = 0; i < model->count; i++) {
        struct model_key *key = &model->keys[i];
        if (!live(key) || sc_slot_of_hash(key->hash) != slot || key->expires_ms == 0 ||
            key->expires_ms > now_ms) {
            continue;
        }
        const struct model_key before = *key;
        told += forget_told(model, key);
        if (model->versions[slot]) {
            *key = before;
            key->tombstone = true;
            key->swept = true;
        }
    }
    ck_assert_uint_eq(model->removed.size, told);
    ck_assert_uint_eq(swept * sizeof swept, told);
    ck_assert_uint_eq(sc_keydir_sweep_slot(model->keydir, slot, now_ms, NULL, NULL), 0);
}

static void do_drop(struct model *model, uint32_t slot)
{
    sc_buf_reset(&model->removed, SIZE_MAX);
    sc_keydir_drop_slot(model->keydir, slot, note_removed, model);
    size_t told = 0;
    for (size_t i = 0; i < model->count; i++) {
        struct model_key *key = &model->keys[i];
        if (sc_slot_of_hash(key->hash) != slot) {
            continue;
        }
        told += live(key) ? forget_told(model, key) : 0;
        *key = (struct model_key){.key = key->key, .hash = key->hash};
    }
    model->cleared[slot] = 0;
    ck_assert_uint_eq(model->removed.size, told);
    ck_assert_uint_eq(sc_keydir_slot_count(model->keydir, slot), 0);
}

/* `growth` of 10 changes are sets. */
static void do_something(struct model *model, uint64_t growth)
{
    struct model_key *key = &model->keys[test_below(&model->seed, model->count)];
    uint64_t what = test_below(&model->seed, 1000);
    if (what < 2) {
        do_drop(model, sc_slot_of_hash(key->hash));
    } else if (what < 10) {
        do_sweep(model, sc_slot_of_hash(key->hash));
    } else if (what < 100) {
        do_relocate(model, key);
    } else if (what < 200) {
        assert_find(model, key);
    } else if (what % 10 < growth) {
        do_set(model, key);
    } else {
        do_remove(model, key);
    }
}

START_TEST(random_operations_agree_with_a_model)
{
    struct model *model = model_alloc((uint64_t)_i + 1);
    sc_keydir_opened(model->keydir, NULL, NULL);
    for (unsigned phase = 0; phase < 12; phase++) {
        for (unsigned i = 0; i < 2500; i++) {
            do_something(model, phase % 3 == 0 ? 8 : phase % 3 == 1 ? 5 : 2);
        }
        assert_all(model);
    }
    for (size_t i = 0; i < model->count; i++) {
        do_remove(model, &model->keys[i]);
    }
    assert_all(model);
    model_free(model);
}
END_TEST

/* ---- Walks ---- */

struct page {
    struct model *model;
    size_t next; /* in the model: the first key that may come now */
    uint64_t visited;
    uint64_t refuse_at; /* this visit of the page is refused */
    struct model_key *last;
    bool seen[KEYS];
};

static bool visit(void *arg, const struct sc_keydir_entry *entry)
{
    struct page *page = arg;
    struct model *model = page->model;
    if (page->visited == page->refuse_at) {
        return false;
    }
    page->visited++;
    while (page->next < model->count && !live(&model->keys[page->next])) {
        page->next++;
    }
    EXPECT(page->next < model->count);
    assert_entry(entry, &model->keys[page->next]);
    page->seen[page->next] = true;
    page->last = &model->keys[page->next++];
    return true;
}

/* Walks from page to page, and changes keys that are not steady in between. */
static void walk_beside_changes(struct model *model, uint64_t page_size, unsigned changes)
{
    struct page *page = sc_calloc(1, sizeof *page);
    struct sc_keydir_position position = {0};
    page->model = model;
    for (bool done = false; !done;) {
        page->visited = 0;
        page->refuse_at = test_below(&model->seed, 4) == 0 ? page_size / 2 + 1 : UINT64_MAX;
        done = sc_keydir_walk(model->keydir, &position, SC_SLOT_COUNT - 1, page_size, visit, page);
        EXPECT(page->visited <= page_size);
        EXPECT(done || page->visited > 0);
        if (page->last != NULL) {
            position = (struct sc_keydir_position){page->last->hash, false, page->last->key};
        }
        for (unsigned i = 0; i < changes; i++) {
            size_t index = test_below(&model->seed, model->count) | 1;
            if (index < model->count) {
                struct model_key *key = &model->keys[index];
                (test_below(&model->seed, 2) > 0 ? do_set : do_remove)(model, key);
            }
        }
    }
    for (size_t i = 0; i < model->count; i += 2) {
        EXPECT(page->seen[i] == live(&model->keys[i]));
    }
    free(page);
}

START_TEST(a_walk_visits_what_stays_exactly_once)
{
    static const uint64_t page_sizes[] = {1, 2, 3, 7, 50, 1000, KEYS};
    struct model *model = model_alloc((uint64_t)_i + 100);
    sc_keydir_opened(model->keydir, NULL, NULL);
    for (size_t i = 0; i < model->count; i++) {
        if (test_below(&model->seed, 4) > 0) {
            do_set(model, &model->keys[i]);
        }
    }
    for (size_t i = 0; i < sizeof page_sizes / sizeof *page_sizes; i++) {
        walk_beside_changes(model, page_sizes[i], 0);
        walk_beside_changes(model, page_sizes[i], page_sizes[i] < 50 ? 3 : 300);
        assert_all(model);
    }
    model_free(model);
}
END_TEST

START_TEST(a_walk_starts_and_ends_where_it_is_told)
{
    struct model *model = model_alloc(7);
    struct page *page = sc_calloc(1, sizeof *page);
    page->model = model;
    page->refuse_at = UINT64_MAX;
    sc_keydir_opened(model->keydir, NULL, NULL);
    for (size_t i = 0; i < model->count; i++) {
        do_set(model, &model->keys[i]);
    }
    for (size_t i = 0; i < model->count; i++) {
        const struct model_key *key = &model->keys[i];
        uint32_t slot = sc_slot_of_hash(key->hash);
        struct sc_keydir_position whole = {.hash = key->hash, .whole_hash = true};
        struct sc_keydir_position before = {.hash = key->hash};
        for (page->next = i;
             page->next < model->count && model->keys[page->next].hash == key->hash;) {
            page->next++;
        }
        page->visited = 0;
        size_t first = page->next;
        bool end = sc_keydir_walk(model->keydir, &whole, slot, 3, visit, page);
        EXPECT(page->next == first + page->visited);
        bool more = page->next < model->count && model->keys[page->next].hash >> 50 == slot;
        EXPECT(end == !more);
        if (i == 0 || model->keys[i - 1].hash != key->hash) {
            page->next = i;
            sc_keydir_walk(model->keydir, &before, slot, 1, visit, page);
            EXPECT(page->next == i + 1);
        }
        EXPECT(slot == 0 || sc_keydir_walk(model->keydir, &before, slot - 1, 0, visit, page));
    }
    free(page);
    model_free(model);
}
END_TEST

/* ---- Opening ---- */

static void do_offer(struct model *model, struct model_key *key)
{
    uint64_t version = 1 + test_below(&model->seed, 5000);
    bool tombstone = test_below(&model->seed, 4) == 0;
    uint64_t id = model->next_id++;
    uint64_t expires_ms = tombstone ? 0 : random_expiry(model);
    struct sc_location old = {0};
    bool old_tombstone = false;
    enum sc_keydir_offer outcome =
        sc_keydir_offer(model->keydir, key->key, key->hash, version, tombstone, location_of(id),
                        expires_ms, &old, &old_tombstone);
    if (version <= model->cleared[sc_slot_of_hash(key->hash)]) {
        EXPECT(outcome == SC_KEYDIR_CLEARED);
        return;
    }
    if (key->present) {
        EXPECT(outcome == (version > key->version ? SC_KEYDIR_NEWER : SC_KEYDIR_OLDER));
        assert_location(old, key->id);
        EXPECT(old_tombstone == key->tombstone);
    } else {
        EXPECT(outcome == SC_KEYDIR_NEW);
    }
    if (outcome != SC_KEYDIR_OLDER) {
        *key = (struct model_key){key->key, key->hash, true,       tombstone,
                                  false,    id,        expires_ms, version};
    }
}

static void do_clear(struct model *model)
{
    uint32_t slot = sc_slot_of_hash(model->keys[test_below(&model->seed, model->count)].hash);
    uint32_t first = slot - (uint32_t)test_below(&model->seed, slot + 1) / 50;
    uint32_t last = slot + (uint32_t)test_below(&model->seed, SC_SLOT_COUNT - slot) / 50;
    uint64_t version = test_below(&model->seed, 2500);
    size_t told = 0;
    sc_buf_reset(&model->removed, SIZE_MAX);
    sc_keydir_offer_clear(model->keydir, first, last, version, note_cleared, model);
    for (slot = first; slot <= last; slot++) {
        if (model->cleared[slot] < version) {
            model->cleared[slot] = version;
        }
    }
    for (size_t i = 0; i < model->count; i++) {
        struct model_key *key = &model->keys[i];
        slot = sc_slot_of_hash(key->hash);
        if (key->present && key->version <= model->cleared[slot]) {
            ck_assert(first <= slot && slot <= last);
            told += forget_told(model, key);
        }
    }
    ck_assert_uint_eq(model->removed.size, told);
}

START_TEST(offers_in_any_order_leave_the_newest)
{
    struct model *model = model_alloc((uint64_t)_i + 200);
    for (unsigned i = 0; i < 20000; i++) {
        do_offer(model, &model->keys[test_below(&model->seed, model->count)]);
        if (i % 1000 == 500) {
            do_clear(model);
            assert_all(model);
        }
    }
    ck_assert(model->tombstones_told);
    assert_all(model);
    struct page *page = sc_calloc(1, sizeof *page);
    page->model = model;
    page->refuse_at = UINT64_MAX;
    ck_assert(sc_keydir_walk(model->keydir, &(struct sc_keydir_position){0}, SC_SLOT_COUNT - 1,
                             UINT64_MAX, visit, page));
    ck_assert_uint_eq(page->visited, sc_keydir_count(model->keydir));
    free(page);
    sc_keydir_opened(model->keydir, NULL, NULL);
    for (size_t i = 0; i < model->count; i++) {
        model->keys[i].present = live(&model->keys[i]);
        model->keys[i].tombstone = false;
        model->keys[i].expires_ms = live(&model->keys[i]) ? model->keys[i].expires_ms : 0;
    }
    assert_all(model);
    for (unsigned i = 0; i < 5000; i++) {
        do_something(model, 5);
    }
    assert_all(model);
    model_free(model);
}
END_TEST

/* ---- Slots that move ---- */

static void assert_sum(const struct model *model, uint32_t slot)
{
    struct sc_keydir_sum expected = {0};
    for (size_t i = 0; i < model->count; i++) {
        const struct model_key *key = &model->keys[i];
        if (sc_slot_of_hash(key->hash) != slot || !key->present ||
            (key->tombstone && !key->swept)) {
            continue;
        }
        uint8_t bytes[16];
        sc_le64_put(bytes, key->hash);
        sc_le64_put(bytes + 8, key->version);
        expected.count++;
        expected.unknown += key->version == 0;
        expected.digest += key->version == 0 ? 0 : XXH3_64bits(bytes, sizeof bytes);
    }
    struct sc_keydir_sum sum = sc_keydir_slot_sum(model->keydir, slot);
    EXPECT(sum.count == expected.count);
    EXPECT(sum.unknown == expected.unknown);
    EXPECT(sum.digest == expected.digest);
}

static void assert_sums(const struct model *model)
{
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        EXPECT(sc_keydir_has_versions(model->keydir, slot) == model->versions[slot]);
        if (model->versions[slot]) {
            assert_sum(model, slot);
        }
    }
}

static void begin_versions(struct model *model, uint32_t slot)
{
    sc_keydir_versions_begin(model->keydir, slot, test_below(&model->seed, 2) > 0);
    for (size_t i = 0; i < model->count && !model->versions[slot]; i++) {
        if (sc_slot_of_hash(model->keys[i].hash) == slot) {
            model->keys[i].version = 0;
        }
    }
    model->versions[slot] = true;
}

static void end_versions(struct model *model, uint32_t slot)
{
    sc_keydir_versions_end(model->keydir, slot);
    for (size_t i = 0; i < model->count && model->versions[slot]; i++) {
        struct model_key *key = &model->keys[i];
        if (sc_slot_of_hash(key->hash) == slot && key->tombstone) {
            *key = (struct model_key){.key = key->key, .hash = key->hash};
        }
    }
    model->versions[slot] = false;
    model->cleared[slot] = 0;
}

static void do_learn(struct model *model, struct model_key *key)
{
    uint64_t version = 1 + test_below(&model->seed, 5000);
    bool right = test_below(&model->seed, 4) > 0;
    uint64_t id = right ? key->id : model->next_id++;
    sc_keydir_learn(model->keydir, key->key, key->hash, location_of(id), version);
    if (right && key->present && key->version == 0 && (!key->tombstone || key->swept) &&
        model->versions[sc_slot_of_hash(key->hash)]) {
        key->version = version;
    }
}

static void do_something_while_moving(struct model *model, uint64_t growth)
{
    struct model_key *key = &model->keys[test_below(&model->seed, model->count)];
    uint32_t slot = sc_slot_of_hash(key->hash);
    uint64_t what = test_below(&model->seed, 100);
    if (what < 1) {
        (model->versions[slot] ? end_versions : begin_versions)(model, slot);
    } else if (what < 20) {
        do_learn(model, key);
    } else if (what < 40 && model->versions[slot]) {
        bool would = sc_keydir_would_take(model->keydir, key->key, key->hash, 2500);
        EXPECT(would == (2500 > model->cleared[slot] && (!key->present || key->version < 2500)));
        do_offer(model, key);
    } else {
        do_something(model, growth);
    }
}

START_TEST(slots_with_versions_among_others_agree_with_a_model)
{
    struct model *model = model_alloc((uint64_t)_i + 300);
    sc_keydir_opened(model->keydir, NULL, NULL);
    for (unsigned phase = 0; phase < 12; phase++) {
        for (unsigned i = 0; i < 2500; i++) {
            do_something_while_moving(model, phase % 3 == 0 ? 8 : phase % 3 == 1 ? 5 : 2);
        }
        assert_all(model);
        assert_sums(model);
    }
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        end_versions(model, slot);
    }
    assert_all(model);
    model_free(model);
}
END_TEST

START_TEST(slots_that_move_keep_their_versions_when_opened)
{
    struct model *model = model_alloc((uint64_t)_i + 400);
    uint8_t arriving[SC_SLOT_COUNT / 8] = {0};
    uint8_t leaving[SC_SLOT_COUNT / 8] = {0};
    for (unsigned i = 0; i < 10000; i++) {
        do_offer(model, &model->keys[test_below(&model->seed, model->count)]);
    }
    do_clear(model);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        uint64_t what = slot == CROWDED_SLOT ? (uint64_t)_i : test_below(&model->seed, 3);
        arriving[slot / 8] |= (uint8_t)((what == 0) << slot % 8);
        leaving[slot / 8] |= (uint8_t)((what == 1) << slot % 8);
        model->versions[slot] = what < 2;
        model->cleared[slot] = what == 0 ? model->cleared[slot] : 0;
        for (size_t i = 0; i < model->count; i++) {
            struct model_key *key = &model->keys[i];
            if (sc_slot_of_hash(key->hash) == slot && key->tombstone && what > 0) {
                *key = (struct model_key){.key = key->key, .hash = key->hash};
            }
        }
    }
    sc_keydir_opened(model->keydir, arriving, leaving);
    assert_all(model);
    assert_sums(model);
    for (unsigned i = 0; i < 5000; i++) {
        do_something_while_moving(model, 5);
    }
    assert_all(model);
    assert_sums(model);
    model_free(model);
}
END_TEST

static bool count_visit(void *arg, const struct sc_keydir_entry *entry)
{
    (void)entry;
    ++*(unsigned *)arg;
    return true;
}

START_TEST(what_was_swept_while_moving_is_visited_on_demand)
{
    struct sc_keydir *keydir = sc_keydir_alloc();
    struct sc_keydir_position start = {0};
    struct sc_slice key = sc_slice_str("expires");
    uint32_t slot = sc_slot_of_key(key);
    unsigned plain = 0;
    unsigned swept = 0;
    sc_keydir_opened(keydir, NULL, NULL);
    sc_keydir_set(keydir, key, sc_slot_hash(key), location_of(1), 100, 0, NULL);
    sc_keydir_versions_begin(keydir, slot, false);
    ck_assert_uint_eq(sc_keydir_sweep_slot(keydir, slot, 100, NULL, NULL), 1);
    ck_assert_uint_eq(sc_keydir_count(keydir), 0);
    ck_assert_uint_eq(sc_keydir_slot_sum(keydir, slot).count, 1);
    (void)sc_keydir_walk(keydir, &start, SC_SLOT_COUNT - 1, 9, count_visit, &plain);
    (void)sc_keydir_walk_swept(keydir, &start, SC_SLOT_COUNT - 1, 9, count_visit, &swept);
    ck_assert(plain == 0 && swept == 1);
    sc_keydir_versions_end(keydir, slot);
    ck_assert_uint_eq(sc_keydir_slot_count(keydir, slot), 0);
    sc_keydir_check(keydir);
    sc_keydir_free(keydir);
}
END_TEST

START_TEST(versions_cost_8_bytes_a_key)
{
    enum { COUNT = 300000 };
    struct sc_keydir *keydir = sc_keydir_alloc();
    sc_keydir_opened(keydir, NULL, NULL);
    for (uint64_t i = 0; i < COUNT; i++) {
        uint64_t number[4] = {i};
        struct sc_slice key = sc_slice(number, sizeof number);
        sc_keydir_set(keydir, key, sc_slot_hash(key), location_of(i), 0, 0, NULL);
    }
    uint64_t before = sc_keydir_memory(keydir);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        sc_keydir_versions_begin(keydir, slot, false);
    }
    uint64_t with = sc_keydir_memory(keydir) - 16384 * 32;
    ck_assert_uint_lt(with, before + COUNT * 12);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        sc_keydir_versions_end(keydir, slot);
    }
    ck_assert_uint_le(sc_keydir_memory(keydir), before + before / 15);
    sc_keydir_check(keydir);
    sc_keydir_free(keydir);
}
END_TEST

/* ---- Extremes ---- */

START_TEST(locations_keep_every_bit)
{
    static const struct sc_location extremes[] = {
        {0, 8, 0},
        {SC_LOCATION_FILES_MAX - 1, SC_LOCATION_SIZE_MAX - 8, SC_LOCATION_OFFSET_MAX - 8},
        {SC_LOCATION_FILES_MAX - 1, 8, 0},
        {0, SC_LOCATION_SIZE_MAX - 8, 0},
        {0, 8, SC_LOCATION_OFFSET_MAX - 8},
    };
    struct sc_keydir *keydir = sc_keydir_alloc();
    struct sc_slice key = sc_slice_str("key");
    sc_keydir_opened(keydir, NULL, NULL);
    for (size_t i = 0; i < sizeof extremes / sizeof *extremes; i++) {
        struct sc_keydir_entry entry;
        sc_keydir_set(keydir, key, sc_slot_hash(key), extremes[i], UINT64_MAX - 1, 0, NULL);
        ck_assert(sc_keydir_find(keydir, key, sc_slot_hash(key), &entry));
        ck_assert_uint_eq(entry.location.file, extremes[i].file);
        ck_assert_uint_eq(entry.location.size, extremes[i].size);
        ck_assert_uint_eq(entry.location.offset, extremes[i].offset);
        ck_assert_uint_eq(entry.expires_ms, UINT64_MAX - 1);
    }
    sc_keydir_free(keydir);
}
END_TEST

/* In rising, falling and random order: 20,000 keys of one hash. */
START_TEST(a_slot_full_of_one_hash_works)
{
    enum { COUNT = 20000 };
    struct sc_keydir *keydir = sc_keydir_alloc();
    struct sc_keydir_entry entry;
    uint8_t room[COLLIDING_SIZE];
    sc_keydir_opened(keydir, NULL, NULL);
    for (unsigned order = 0; order < 3; order++) {
        for (uint64_t i = 0; i < COUNT; i++) {
            uint64_t number = order == 0 ? i : order == 1 ? COUNT - 1 - i : i * 7919 % COUNT;
            struct sc_slice key = colliding_key(room, 1, number);
            EXPECT(!sc_keydir_set(keydir, key, sc_slot_hash(key), location_of(i), 0, 0, NULL));
        }
        sc_keydir_check(keydir);
        for (uint64_t i = 0; i < COUNT; i++) {
            struct sc_slice key = colliding_key(room, 1, i);
            EXPECT(sc_keydir_find(keydir, key, sc_slot_hash(key), &entry));
        }
        struct sc_slice absent = colliding_key(room, 1, COUNT);
        ck_assert(!sc_keydir_find(keydir, absent, sc_slot_hash(absent), &entry));
        for (uint64_t i = 0; i < COUNT; i++) {
            struct sc_slice key = colliding_key(room, 1, i * 7919 % COUNT);
            EXPECT(sc_keydir_remove(keydir, key, sc_slot_hash(key), NULL));
        }
        ck_assert_uint_eq(sc_keydir_count(keydir), 0);
    }
    sc_keydir_free(keydir);
}
END_TEST

START_TEST(memory_is_given_back)
{
    enum { COUNT = 300000 };
    struct sc_keydir *keydir = sc_keydir_alloc();
    sc_keydir_opened(keydir, NULL, NULL);
    uint64_t before = sc_keydir_memory(keydir);
    for (uint64_t i = 0; i < COUNT; i++) {
        struct sc_slice key = sc_slice(&i, sizeof i);
        sc_keydir_set(keydir, key, sc_slot_hash(key), location_of(i), 1 + i % 2, 0, NULL);
    }
    uint64_t full = sc_keydir_memory(keydir);
    ck_assert_uint_lt(full, before + COUNT * (sizeof(uint64_t) + 8 + 24));
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        sc_keydir_sweep_slot(keydir, slot, 1, NULL, NULL);
    }
    ck_assert_uint_eq(sc_keydir_count(keydir), COUNT / 2);
    ck_assert_uint_lt(sc_keydir_memory(keydir), full * 3 / 4);
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        sc_keydir_drop_slot(keydir, slot, NULL, NULL);
    }
    ck_assert_uint_eq(sc_keydir_count(keydir), 0);
    ck_assert_uint_lt(sc_keydir_memory(keydir), before + (1u << 20));
    sc_keydir_check(keydir);
    sc_keydir_free(keydir);
}
END_TEST

START_TEST(prefetching_changes_nothing)
{
    struct model *model = model_alloc(5);
    sc_keydir_opened(model->keydir, NULL, NULL);
    for (size_t i = 0; i < model->count; i++) {
        sc_keydir_prefetch(model->keydir, model->keys[i].hash);
        (void)sc_keydir_prefetch_key(model->keydir, model->keys[i].hash, NULL);
        do_set(model, &model->keys[i]);
        sc_keydir_prefetch(model->keydir, model->keys[i].hash);
        (void)sc_keydir_prefetch_key(model->keydir, model->keys[i].hash, NULL);
    }
    assert_all(model);
    model_free(model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keydir");
    TCase *tcase = tcase_create("keydir");
    tcase_add_loop_test(tcase, random_operations_agree_with_a_model, 0, 12);
    tcase_add_loop_test(tcase, a_walk_visits_what_stays_exactly_once, 0, 4);
    tcase_add_test(tcase, a_walk_starts_and_ends_where_it_is_told);
    tcase_add_loop_test(tcase, offers_in_any_order_leave_the_newest, 0, 8);
    tcase_add_loop_test(tcase, slots_with_versions_among_others_agree_with_a_model, 0, 12);
    tcase_add_loop_test(tcase, slots_that_move_keep_their_versions_when_opened, 0, 3);
    tcase_add_test(tcase, what_was_swept_while_moving_is_visited_on_demand);
    tcase_add_test(tcase, versions_cost_8_bytes_a_key);
    tcase_add_test(tcase, locations_keep_every_bit);
    tcase_add_test(tcase, a_slot_full_of_one_hash_works);
    tcase_add_test(tcase, memory_is_given_back);
    tcase_add_test(tcase, prefetching_changes_nothing);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
