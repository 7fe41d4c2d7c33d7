#include "shard/rescue.h"

#include "shard/bitcask_impl.h"

#define VISITS_MAX 2000u /* of the keydir while the lock is held */
#define FOUND_MAX 64u

struct found {
    uint64_t hash;
    uint64_t expires_ms;
    size_t key; /* where in the buffer of keys it begins */
    size_t key_size;
};

struct search {
    uint32_t index; /* of the file */
    const struct sc_rescue_range *ranges;
    size_t range_count;
    struct found found[FOUND_MAX];
    size_t count;
    struct sc_buf keys;
    uint64_t last_hash; /* of the last entry that was visited */
    struct sc_buf last_key;
    uint64_t visits;
};

static bool is_in(const struct search *search, struct sc_location at)
{
    for (size_t i = 0; i < search->range_count && at.file == search->index; i++) {
        if (at.offset >= search->ranges[i].from && at.offset < search->ranges[i].to) {
            return true;
        }
    }
    return false;
}

static bool visit(void *arg, const struct sc_keydir_entry *entry)
{
    struct search *search = arg;
    if (search->count == FOUND_MAX) {
        return false;
    }
    search->visits++;
    search->last_hash = entry->hash;
    search->last_key.size = 0;
    sc_buf_append_slice(&search->last_key, entry->key);
    if (is_in(search, entry->location)) {
        search->found[search->count++] =
            (struct found){entry->hash, entry->expires_ms, search->keys.size, entry->key.size};
        sc_buf_append_slice(&search->keys, entry->key);
    }
    return true;
}

static enum sc_status lose_found(struct sc_bitcask *store, const struct search *search,
                                 uint64_t *rescued, char *why)
{
    enum sc_status worst = SC_OK;
    for (size_t i = 0; i < search->count; i++) {
        const struct found *found = &search->found[i];
        struct sc_slice key = sc_slice(search->keys.data + found->key, found->key_size);
        enum sc_status status = sc_bitcask_lose(store, key, found->hash, found->expires_ms, why);
        *rescued += status == SC_OK ? 1 : 0;
        worst = status != SC_OK ? status : worst;
    }
    return worst;
}

/* The index of a file that is part of the store. */
static bool find_file(const struct sc_bitcask *store, uint64_t number, uint32_t *index)
{
    for (size_t i = 0; i < store->segment_count; i++) {
        const struct sc_segment *segment = store->segments[i];
        if (segment != NULL && segment->number == number && !segment->retired) {
            *index = segment->index;
            return true;
        }
    }
    return false;
}

enum sc_status sc_rescue_run(struct sc_bitcask *store, const struct sc_care_host *host,
                             uint64_t file, const struct sc_rescue_range *ranges, size_t count,
                             uint64_t *rescued, char *why)
{
    struct search search = {.ranges = ranges, .range_count = count};
    struct sc_keydir_position position = {0};
    enum sc_status worst = SC_OK;
    bool end = false;
    *rescued = 0;
    while (!end) {
        search.count = 0;
        search.keys.size = 0;
        search.visits = 0;
        host->lock(host->arg);
        end =
            !find_file(store, file, &search.index) ||
            sc_keydir_walk(store->keydir, &position, SC_SLOT_COUNT - 1, VISITS_MAX, visit, &search);
        enum sc_status status = lose_found(store, &search, rescued, why);
        host->unlock(host->arg);
        worst = status != SC_OK ? status : worst;
        position = (struct sc_keydir_position){.hash = search.last_hash,
                                               .key = sc_buf_slice(&search.last_key)};
    }
    sc_buf_fini(&search.keys);
    sc_buf_fini(&search.last_key);
    return worst;
}
