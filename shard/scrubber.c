#include "shard/scrubber.h"

#include "common/clock.h"
#include "shard/care.h"
#include "shard/pace.h"
#include "shard/quarantine.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define PASS_INTERVAL_MS UINT64_C(3600000)
#define LOOK_TICKS 10u /* ticks between two looks whether something is due */

struct sc_scrubber {
    /* constant after start */
    struct sc_sp_hub *hub;
    struct sc_bitcask *store;
    struct sc_scrub_host host;
    struct sc_care *care; /* the thread's */
    pthread_t thread;

    sem_t wake;
    struct sc_pace pace;
    atomic_bool give_up; /* the pass that is under way: another one is asked for */

    /* guarded by the hub's lock */
    struct sc_scrub *scrub;
    uint64_t bytes_per_second; /* as it was set */
    bool working; /* the thread has been woken and is not done */
    bool asked;
    bool asked_now; /* the pass that is under way was asked for */
    unsigned ticks;
    uint64_t passes; /* that went through */
    char error[SC_WHY_SIZE];
};

/* ---- What a scrub needs ---- */

static void host_lock(void *arg)
{
    struct sc_scrubber *scrubber = arg;
    sc_sp_hub_lock(scrubber->hub);
}

static void host_unlock(void *arg)
{
    struct sc_scrubber *scrubber = arg;
    sc_sp_hub_unlock(scrubber->hub);
}

static bool host_proceed(void *arg, uint64_t bytes)
{
    struct sc_scrubber *scrubber = arg;
    sc_pace_keep(&scrubber->pace, bytes);
    return !atomic_load(&scrubber->pace.stopping) && !atomic_load(&scrubber->give_up);
}

static void host_begin(void *arg, uint64_t file)
{
    struct sc_scrubber *scrubber = arg;
    sc_care_begin(scrubber->care, file);
}

static void host_found(void *arg, const struct sc_damage *damage)
{
    struct sc_scrubber *scrubber = arg;
    sc_care_found(scrubber->care, damage);
}

static void host_end(void *arg, uint64_t file, bool whole)
{
    struct sc_scrubber *scrubber = arg;
    sc_care_end(scrubber->care, file, whole);
}

/* ---- The thread ---- */

static uint64_t now_ms(void)
{
    return sc_clock_wall_us() / 1000;
}

static bool pass_due(const struct sc_scrubber *scrubber)
{
    struct sc_scrub_figures pass;
    if (scrubber->asked || scrubber->bytes_per_second == 0) {
        return scrubber->asked;
    }
    sc_scrub_figures(scrubber->scrub, &pass);
    /* One that was interrupted goes on; a time in the future comes from a clock that was wrong. */
    uint64_t now = now_ms();
    return pass.interrupted || now - pass.ended_ms >= PASS_INTERVAL_MS || pass.ended_ms > now;
}

static void set_rate_locked(struct sc_scrubber *scrubber)
{
    uint64_t rate = scrubber->bytes_per_second;
    bool fast = scrubber->asked_now && rate < SC_SCRUBBER_ASKED_RATE;
    atomic_store(&scrubber->pace.rate, fast ? SC_SCRUBBER_ASKED_RATE : rate);
    /* Without a rate there is no pass but one that was asked for. */
    if (rate == 0 && !scrubber->asked_now) {
        atomic_store(&scrubber->give_up, true);
    }
}

/* Whether there is a pass to begin, or one to go on with; `again`: from the first file. */
static bool begin_pass(struct sc_scrubber *scrubber, bool *again)
{
    sc_sp_hub_lock(scrubber->hub);
    bool due = pass_due(scrubber) && !atomic_load(&scrubber->pace.stopping);
    scrubber->working = due;
    if (due) {
        atomic_store(&scrubber->give_up, false);
        scrubber->asked_now = scrubber->asked;
        *again = scrubber->asked;
        set_rate_locked(scrubber);
    }
    sc_sp_hub_unlock(scrubber->hub);
    return due;
}

static void end_pass(struct sc_scrubber *scrubber, enum sc_status status, const char *why)
{
    sc_sp_hub_lock(scrubber->hub);
    if (status != SC_UNAVAILABLE) {
        scrubber->passes++;
        scrubber->asked = scrubber->asked && !scrubber->asked_now;
        (void)snprintf(scrubber->error, sizeof scrubber->error, "%s", status == SC_OK ? "" : why);
    }
    scrubber->asked_now = false;
    sc_sp_hub_unlock(scrubber->hub);
}

static void look_again(void *arg, const struct sc_damage *part)
{
    struct sc_scrubber *scrubber = arg;
    if (!atomic_load(&scrubber->pace.stopping)) {
        sc_scrub_look(scrubber->scrub, &scrubber->host, part);
    }
}

static void *run(void *arg)
{
    struct sc_scrubber *scrubber = arg;
    char why[SC_WHY_SIZE] = "";
    bool again = false;
    /* What was known before the store was opened is in the quarantine. */
    sc_quarantine_list(sc_bitcask_files(scrubber->store), look_again, scrubber);
    for (;;) {
        while (sem_wait(&scrubber->wake) != 0 && errno == EINTR) {
        }
        if (atomic_load(&scrubber->pace.stopping)) {
            return NULL;
        }
        sc_care_attend(scrubber->care);
        while (begin_pass(scrubber, &again)) {
            end_pass(scrubber, sc_scrub_run(scrubber->scrub, &scrubber->host, again, false, why),
                     why);
            sc_care_attend(scrubber->care);
        }
    }
}

enum sc_status sc_scrubber_start(struct sc_sp_hub *hub, struct sc_bitcask *store,
                                 uint64_t bytes_per_second, struct sc_scrubber **out, char *why)
{
    struct sc_scrubber *scrubber = sc_calloc(1, sizeof *scrubber);
    scrubber->hub = hub;
    scrubber->store = store;
    scrubber->host = (struct sc_scrub_host){host_lock,  host_unlock, host_proceed, host_begin,
                                            host_found, host_end,    scrubber};
    scrubber->scrub = sc_scrub_alloc(store);
    scrubber->bytes_per_second = bytes_per_second;
    const struct sc_care_host care = {host_lock, host_unlock, scrubber};
    scrubber->care = sc_care_alloc(store, &care);
    (void)sem_init(&scrubber->wake, 0, 0);
    int error = pthread_create(&scrubber->thread, NULL, run, scrubber);
    if (error != 0) {
        (void)sem_destroy(&scrubber->wake);
        sc_scrub_free(scrubber->scrub);
        sc_care_free(scrubber->care);
        free(scrubber);
        return sc_fail(why, SC_INTERNAL, "cannot start a thread: %s", strerror(error));
    }
    *out = scrubber;
    return SC_OK;
}

void sc_scrubber_stop(struct sc_scrubber *scrubber)
{
    if (scrubber == NULL) {
        return;
    }
    atomic_store(&scrubber->pace.stopping, true);
    (void)sem_post(&scrubber->wake);
    (void)pthread_join(scrubber->thread, NULL);
    (void)sem_destroy(&scrubber->wake);
    sc_scrub_free(scrubber->scrub);
    sc_care_free(scrubber->care);
    free(scrubber);
}

/* ---- With the lock ---- */

void sc_scrubber_tick(struct sc_scrubber *scrubber)
{
    bool look = scrubber->ticks++ % LOOK_TICKS == 0 || scrubber->asked;
    if (look && !scrubber->working && (pass_due(scrubber) || sc_care_wanted(scrubber->care))) {
        scrubber->working = true;
        (void)sem_post(&scrubber->wake);
    }
}

void sc_scrubber_configure(struct sc_scrubber *scrubber, uint64_t bytes_per_second)
{
    scrubber->bytes_per_second = bytes_per_second;
    set_rate_locked(scrubber);
}

void sc_scrubber_ask(struct sc_scrubber *scrubber)
{
    scrubber->asked = true;
    if (!scrubber->asked_now) {
        /* A slow one makes room for it, without waiting until its time has come. */
        atomic_store(&scrubber->give_up, true);
        atomic_store(&scrubber->pace.rate, SC_SCRUBBER_ASKED_RATE);
    }
}

void sc_scrubber_figures(const struct sc_scrubber *scrubber, struct sc_scrubber_figures *figures)
{
    *figures = (struct sc_scrubber_figures){
        .asked = scrubber->asked,
        .passes = scrubber->passes,
        .error = scrubber->error,
    };
    sc_scrub_figures(scrubber->scrub, &figures->pass);
    if (figures->pass.running) {
        figures->state = SC_SCRUBBER_READING;
    } else {
        figures->state = scrubber->bytes_per_second == 0 && !scrubber->asked ? SC_SCRUBBER_OFF
                                                                             : SC_SCRUBBER_IDLE;
    }
}
