#include "shard/bus.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What the thread is copying from or to, for the handler. */
static _Thread_local struct {
    const uint8_t *volatile begin, *volatile end; /* equal: nothing */
    volatile bool failed;
} access_now;

/* constant after sc_bus_init */
static struct sigaction handled_before;
static uintptr_t page_size;

static void on_bus_error(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    const uint8_t *at = info->si_addr;
    if (at >= access_now.begin && at < access_now.end) {
        void *page = (uint8_t *)((uintptr_t)at & ~(page_size - 1));
        if (mmap(page, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                 -1, 0) != MAP_FAILED) {
            access_now.failed = true;
            return;
        }
    }
    (void)sigaction(signal_number, &handled_before, NULL); /* and the access is repeated */
}

static void init_once(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGBUS, &action, &handled_before);
}

void sc_bus_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, init_once);
}

/* `mapped` is one of the two. */
static bool copy(void *to, const void *from, const uint8_t *mapped, size_t size)
{
    access_now.failed = false;
    access_now.end = mapped + size;
    access_now.begin = mapped;
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(to, from, size);
    atomic_signal_fence(memory_order_seq_cst);
    access_now.end = mapped;
    return !access_now.failed;
}

bool sc_bus_read(void *to, const void *mapped, size_t size)
{
    return copy(to, mapped, mapped, size);
}

bool sc_bus_write(void *mapped, const void *from, size_t size)
{
    return copy(mapped, from, mapped, size);
}
