#include "shard/damages.h"

#include <stdlib.h>

static void entry_fini(struct sc_damages_entry *entry)
{
    free((void *)(uintptr_t)entry->damage.key.data); /* ours: see below */
}

void sc_damages_fini(struct sc_damages *damages)
{
    for (size_t i = 0; i < damages->count; i++) {
        entry_fini(&damages->entries[i]);
    }
    free(damages->entries);
    *damages = (struct sc_damages){0};
}

/* Readers tell of a damaged record before anybody knows whether it is one in a stretch. */
static bool is_same(const struct sc_damage *a, const struct sc_damage *b)
{
    bool keyed = a->key.data != NULL;
    return a->file == b->file && a->offset == b->offset && keyed == (b->key.data != NULL) &&
           (keyed || a->kind == b->kind);
}

struct sc_damages_entry *sc_damages_find(struct sc_damages *damages, const struct sc_damage *damage)
{
    for (size_t i = 0; i < damages->count; i++) {
        if (is_same(&damages->entries[i].damage, damage)) {
            return &damages->entries[i];
        }
    }
    return NULL;
}

static void add(struct sc_damages *damages, const struct sc_damage *damage, uint64_t now_ms)
{
    if (damages->entries == NULL) {
        damages->entries = sc_calloc(SC_DAMAGES_MAX, sizeof *damages->entries);
    }
    struct sc_damages_entry *entry = &damages->entries[damages->count++];
    *entry = (struct sc_damages_entry){.damage = *damage, .found_ms = now_ms, .seen = true};
    if (damage->key.data != NULL) {
        void *key = sc_alloc(damage->key.size);
        memcpy(key, damage->key.data, damage->key.size);
        entry->damage.key.data = key;
    }
}

bool sc_damages_note(struct sc_damages *damages, const struct sc_damage *damage, uint64_t now_ms)
{
    struct sc_damages_entry *entry = sc_damages_find(damages, damage);
    if (entry != NULL) {
        struct sc_slice key = entry->damage.key;
        uint64_t version = entry->damage.version;
        entry->damage = *damage;
        entry->damage.key = key;
        entry->damage.version = damage->version != 0 ? damage->version : version;
        entry->seen = true;
        return false;
    }
    damages->found++;
    if (damages->count == SC_DAMAGES_MAX) {
        damages->overflow++;
        return false;
    }
    damages->fresh = true;
    add(damages, damage, now_ms);
    return true;
}

void sc_damages_age(struct sc_damages *damages, uint64_t file)
{
    for (size_t i = 0; i < damages->count; i++) {
        if (damages->entries[i].damage.file == file) {
            damages->entries[i].seen = false;
        }
    }
}

static void forget(struct sc_damages *damages,
                   bool (*is_over)(const struct sc_damages_entry *entry, uint64_t file, int kind),
                   uint64_t file, int kind)
{
    size_t left = 0;
    for (size_t i = 0; i < damages->count; i++) {
        struct sc_damages_entry *entry = &damages->entries[i];
        if (is_over(entry, file, kind)) {
            entry_fini(entry);
        } else {
            damages->entries[left++] = *entry;
        }
    }
    damages->count = left;
}

static bool is_unseen(const struct sc_damages_entry *entry, uint64_t file, int kind)
{
    (void)kind;
    return entry->damage.file == file && !entry->seen;
}

void sc_damages_forget_unseen(struct sc_damages *damages, uint64_t file)
{
    forget(damages, is_unseen, file, 0);
}

static bool is_of_kind(const struct sc_damages_entry *entry, uint64_t file, int kind)
{
    return entry->damage.file == file && (int)entry->damage.kind == kind;
}

void sc_damages_forget_kind(struct sc_damages *damages, uint64_t file, enum sc_damage_kind kind)
{
    forget(damages, is_of_kind, file, (int)kind);
}

static bool is_in_file(const struct sc_damages_entry *entry, uint64_t file, int kind)
{
    (void)kind;
    return entry->damage.file == file;
}

void sc_damages_forget_file(struct sc_damages *damages, uint64_t file)
{
    forget(damages, is_in_file, file, 0);
}
