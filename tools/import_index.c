#include "tools/import_index.h"

#include <assert.h>
#include <stdlib.h>

#include "common/slot.h"

#define SLOTS_MIN ((size_t)1024)

static void grow(struct sc_import_index *index)
{
    size_t slot_count = index->slot_count == 0 ? SLOTS_MIN : 2 * index->slot_count;
    free(index->slots);
    index->slots = sc_calloc(slot_count, sizeof *index->slots);
    index->slot_count = slot_count;
    for (size_t i = 0; i < index->count; i++) {
        struct sc_slice key = sc_import_index_key(index, &index->entries[i]);
        uint64_t hash = sc_slot_hash(key);
        size_t at = hash & (slot_count - 1);
        while (index->slots[at].entry != 0) {
            at = (at + 1) & (slot_count - 1);
        }
        index->slots[at] = (struct sc_import_slot){(uint32_t)(hash >> 32), (uint32_t)i + 1};
    }
}

static struct sc_import_entry *add(struct sc_import_index *index, struct sc_slice key)
{
    assert(index->count < UINT32_MAX - 1 && key.size <= UINT32_MAX);
    if (index->count == index->room) {
        index->room = index->room == 0 ? SLOTS_MIN / 2 : 2 * index->room;
        index->entries = sc_realloc(index->entries, index->room * sizeof *index->entries);
    }
    struct sc_import_entry *entry = &index->entries[index->count++];
    *entry = (struct sc_import_entry){.key_at = index->keys.size, .key_size = (uint32_t)key.size};
    sc_buf_append_slice(&index->keys, key);
    return entry;
}

struct sc_import_entry *sc_import_index_entry(struct sc_import_index *index, struct sc_slice key,
                                              bool *is_new)
{
    if (index->count + 1 > index->slot_count / 4 * 3) {
        grow(index);
    }
    uint64_t hash = sc_slot_hash(key);
    size_t mask = index->slot_count - 1;
    struct sc_import_slot *slot;
    for (size_t at = hash & mask; slot = &index->slots[at], slot->entry != 0;
         at = (at + 1) & mask) {
        struct sc_import_entry *entry = &index->entries[slot->entry - 1];
        if (slot->tag == (uint32_t)(hash >> 32) &&
            sc_slice_equal(key, sc_import_index_key(index, entry))) {
            *is_new = false;
            return entry;
        }
    }
    *is_new = true;
    *slot = (struct sc_import_slot){(uint32_t)(hash >> 32), (uint32_t)index->count + 1};
    return add(index, key);
}

static int compare_entries(const void *a, const void *b)
{
    const struct sc_import_entry *one = a;
    const struct sc_import_entry *two = b;
    if (one->file != two->file) {
        return one->file < two->file ? -1 : 1;
    }
    return one->offset < two->offset ? -1 : one->offset > two->offset;
}

void sc_import_index_sort(struct sc_import_index *index)
{
    free(index->slots);
    index->slots = NULL;
    index->slot_count = 0;
    if (index->count > 0) {
        qsort(index->entries, index->count, sizeof *index->entries, compare_entries);
    }
}

struct sc_slice sc_import_index_key(const struct sc_import_index *index,
                                    const struct sc_import_entry *entry)
{
    return entry->key_size == 0 ? sc_slice("", 0)
                                : sc_slice(index->keys.data + entry->key_at, entry->key_size);
}

void sc_import_index_fini(struct sc_import_index *index)
{
    free(index->entries);
    free(index->slots);
    sc_buf_fini(&index->keys);
    *index = (struct sc_import_index){0};
}
