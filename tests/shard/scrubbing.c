#include "tests/shard/scrubbing.h"

#include "shard/care.h"

static void pass(void *arg)
{
    struct scrubbing *s = arg;
    if (s->beside != NULL) {
        s->beside(s->arg);
    }
}

static bool on_proceed(void *arg, uint64_t bytes)
{
    struct scrubbing *s = arg;
    pass(s);
    s->bytes += bytes;
    return s->stop_after == 0 || --s->stop_after > 0;
}

static void on_found(void *arg, const struct sc_damage *damage)
{
    struct scrubbing *s = arg;
    ck_assert_uint_lt(s->count, FOUND_MAX);
    struct found *found = &s->found[s->count++];
    *found = (struct found){.damage = *damage};
    if (damage->key.data != NULL) {
        (void)snprintf(found->key, sizeof found->key, "%.*s", (int)damage->key.size,
                       (const char *)damage->key.data);
    }
}

static void on_begin(void *arg, uint64_t file)
{
    struct scrubbing *s = arg;
    s->file = file;
}

static void on_end(void *arg, uint64_t file, bool whole)
{
    struct scrubbing *s = arg;
    ck_assert_uint_eq(s->file, file);
    s->files_passed += whole && file != 0 ? 1 : 0;
}

enum sc_status scrub_once(struct scrubbing *s, struct fixture *f)
{
    const struct sc_scrub_host host = {pass, pass, on_proceed, on_begin, on_found, on_end, s};
    struct sc_scrub *scrub = sc_scrub_alloc(f->store);
    s->f = f;
    s->count = 0;
    s->files_passed = 0;
    s->bytes = 0;
    enum sc_status status = sc_scrub_run(scrub, &host, true, true, s->why);
    struct sc_scrub_figures figures;
    sc_scrub_figures(scrub, &figures);
    ck_assert(!figures.running);
    sc_scrub_free(scrub);
    return status;
}

static void no_lock(void *arg)
{
    (void)arg;
}

static bool goes_on(void *arg, uint64_t bytes)
{
    (void)arg;
    (void)bytes;
    return true;
}

static void care_begin(void *arg, uint64_t file)
{
    sc_care_begin(arg, file);
}

static void care_found(void *arg, const struct sc_damage *damage)
{
    sc_care_found(arg, damage);
}

static void care_end(void *arg, uint64_t file, bool whole)
{
    sc_care_end(arg, file, whole);
}

void scrub_with_care(struct fixture *f)
{
    const struct sc_care_host care_host = {no_lock, no_lock, NULL};
    struct sc_care *care = sc_care_alloc(f->store, &care_host);
    const struct sc_scrub_host host = {no_lock,    no_lock,  goes_on, care_begin,
                                       care_found, care_end, care};
    struct sc_scrub *scrub = sc_scrub_alloc(f->store);
    sc_care_attend(care);
    ck_assert_int_eq(sc_scrub_run(scrub, &host, true, false, f->why), SC_OK);
    sc_scrub_free(scrub);
    sc_care_free(care);
    ck_assert_int_eq(sc_bitcask_commit(f->store, true), SC_OK);
}

size_t found_count(const struct scrubbing *s, enum sc_damage_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        count += s->found[i].damage.kind == kind ? 1 : 0;
    }
    return count;
}

const struct found *found_first(const struct scrubbing *s, enum sc_damage_kind kind)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->found[i].damage.kind == kind) {
            return &s->found[i];
        }
    }
    return NULL;
}

size_t found_damages(const struct scrubbing *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        count += sc_damage_is_note(&s->found[i].damage) ? 0 : 1;
    }
    return count;
}
