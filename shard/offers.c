#include "shard/offers.h"

#include "shard/bitcask_impl.h"

#include <stdlib.h>

#define COUNT_MAX ((size_t)1 << 18)
#define KEYS_SIZE_MAX ((size_t)16 << 20)
#define AHEAD ((size_t)8) /* offers that each of the steps of fetching is before the next */

struct offer {
    uint64_t hash;
    uint64_t version;
    uint64_t expires_ms;
    struct sc_location location;
    uint32_t key_offset; /* in `keys` */
    uint16_t key_size;
    bool tombstone;
};

struct sc_offers {
    struct sc_bitcask *store; /* kept */
    struct offer *items;
    size_t count, capacity;
    struct sc_buf keys;
    uint32_t *order; /* items by slot; as many as fit */
    uint32_t ends[SC_SLOT_COUNT]; /* while sorting: where the next item of a slot goes */
};

struct sc_offers *sc_offers_alloc(struct sc_bitcask *store)
{
    struct sc_offers *offers = sc_calloc(1, sizeof *offers);
    offers->store = store;
    return offers;
}

void sc_offers_free(struct sc_offers *offers)
{
    if (offers != NULL) {
        free(offers->items);
        free(offers->order);
        sc_buf_fini(&offers->keys);
        free(offers);
    }
}

static void grow(struct sc_offers *offers)
{
    offers->capacity = offers->capacity == 0 ? 256 : offers->capacity * 2;
    offers->items = sc_realloc(offers->items, offers->capacity * sizeof *offers->items);
    offers->order = sc_realloc(offers->order, offers->capacity * sizeof *offers->order);
}

void sc_offers_add(struct sc_offers *offers, const struct sc_record *record, uint64_t hash,
                   struct sc_location location)
{
    if (offers->count == COUNT_MAX || offers->keys.size > KEYS_SIZE_MAX) {
        sc_offers_flush(offers);
    }
    if (offers->count == offers->capacity) {
        grow(offers);
    }
    offers->items[offers->count++] = (struct offer){
        .hash = hash,
        .version = record->version,
        .expires_ms = record->expires_ms,
        .location = location,
        .key_offset = (uint32_t)offers->keys.size,
        .key_size = (uint16_t)record->key.size,
        .tombstone = record->kind == SC_RECORD_TOMBSTONE,
    };
    sc_buf_append_slice(&offers->keys, record->key);
}

/* Removed by a clear, or replaced by a newer record. */
static void forget(void *arg, struct sc_location location, bool tombstone)
{
    if (!tombstone) {
        sc_bitcask_forget(arg, location);
    }
}

void sc_offers_clear(struct sc_offers *offers, const struct sc_record *record)
{
    uint32_t first;
    uint32_t last;
    sc_record_clear_range(record, &first, &last);
    sc_keydir_offer_clear(offers->store->keydir, first, last, record->version, forget,
                          offers->store);
}

/* Counting sort by slot. */
static void sort(struct sc_offers *offers)
{
    uint32_t *ends = offers->ends;
    memset(ends, 0, sizeof offers->ends);
    for (size_t i = 0; i < offers->count; i++) {
        ends[sc_slot_of_hash(offers->items[i].hash)]++;
    }
    uint32_t before = 0;
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        uint32_t count = ends[slot];
        ends[slot] = before;
        before += count;
    }
    for (size_t i = 0; i < offers->count; i++) {
        offers->order[ends[sc_slot_of_hash(offers->items[i].hash)]++] = (uint32_t)i;
    }
}

static void offer(struct sc_bitcask *store, const struct offer *offer, struct sc_slice key)
{
    struct sc_location old;
    bool old_tombstone;
    enum sc_keydir_offer outcome =
        sc_keydir_offer(store->keydir, key, offer->hash, offer->version, offer->tombstone,
                        offer->location, offer->expires_ms, &old, &old_tombstone);
    if (outcome == SC_KEYDIR_NEWER) {
        forget(store, old, old_tombstone);
    }
    if ((outcome == SC_KEYDIR_NEW || outcome == SC_KEYDIR_NEWER) && !offer->tombstone) {
        sc_segment_live(sc_bitcask_segment(store, offer->location), offer->location.size);
    }
}

void sc_offers_take(struct sc_bitcask *store, const struct sc_record *record, uint64_t hash,
                    struct sc_location location)
{
    const struct offer one = {
        .hash = hash,
        .version = record->version,
        .expires_ms = record->expires_ms,
        .location = location,
        .tombstone = record->kind == SC_RECORD_TOMBSTONE,
    };
    offer(store, &one, record->key);
}

/* The offer whose turn it is so many steps later. */
static const struct offer *later(const struct sc_offers *offers, size_t index)
{
    return &offers->items[offers->order[index < offers->count ? index : offers->count - 1]];
}

/* Fetches what the coming turns need: offers, then tables, then keys. */
static void fetch_ahead(const struct sc_offers *offers, size_t index)
{
    const struct sc_keydir *keydir = offers->store->keydir;
    const struct offer *next = later(offers, index + 3 * AHEAD);
    __builtin_prefetch(next);
    __builtin_prefetch((const char *)(next + 1) - 1); /* perhaps in another cache line */
    next = later(offers, index + 2 * AHEAD);
    __builtin_prefetch(offers->keys.data + next->key_offset);
    sc_keydir_prefetch(keydir, next->hash);
    (void)sc_keydir_prefetch_key(keydir, later(offers, index + AHEAD)->hash, NULL);
}

void sc_offers_flush(struct sc_offers *offers)
{
    const uint8_t *keys = offers->keys.data;
    sort(offers);
    for (size_t i = 0; i < offers->count; i++) {
        fetch_ahead(offers, i);
        const struct offer *next = later(offers, i);
        offer(offers->store, next, sc_slice(keys + next->key_offset, next->key_size));
    }
    offers->count = 0;
    offers->keys.size = 0;
}
