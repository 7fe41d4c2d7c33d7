#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sp_internal.h"

#define EVENTS_MAX 64 /* connections that are received from before the sends have their turn */
#define YIELDS_MAX 3 /* looks for more events before the thread sleeps */

/* ---- Connections ---- */

static struct epoll_event lookout(struct sc_sp_conn *conn, bool for_bytes)
{
    return (struct epoll_event){.events = (for_bytes ? EPOLLIN : 0u) | EPOLLRDHUP | EPOLLET,
                                .data.ptr = conn};
}

void sc_sp_poller_add(struct sc_sp_conn *conn)
{
    struct sc_sp_hub *hub = conn->hub;
    if (hub->options.descriptor == NULL) {
        return;
    }
    int fd = hub->options.descriptor(conn->stream, conn->ipc);
    struct epoll_event event = lookout(conn, true);
    if (fd < 0 || epoll_ctl(hub->poller.epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        sc_log_debug("a connection is left to libnng's poller"); /* slower, that is all */
        return;
    }
    conn->fd = fd;
    sc_sp_conn_ref(conn);
}

/* Cannot fail: the descriptor is among those watched, and that takes no more memory. */
void sc_sp_poller_look_out(struct sc_sp_conn *conn, bool for_bytes)
{
    struct epoll_event event = lookout(conn, for_bytes);
    (void)epoll_ctl(conn->hub->poller.epoll_fd, EPOLL_CTL_MOD, conn->fd, &event);
}

static void wake(struct sc_sp_poller *poller)
{
    uint64_t one = 1;
    (void)!write(poller->wake_fd, &one, sizeof one); /* fails only if it has been woken already */
}

/* The thread may have been told of the connection and be about to look at it: the reference is its
 * to give back. */
void sc_sp_poller_remove(struct sc_sp_conn *conn)
{
    if (conn->fd < 0) {
        return;
    }
    struct sc_sp_poller *poller = &conn->hub->poller;
    (void)epoll_ctl(poller->epoll_fd, EPOLL_CTL_DEL, conn->fd, NULL);
    conn->fd = -1;
    STAILQ_INSERT_TAIL(&poller->removed, conn, removed);
    if (!poller->handling) {
        wake(poller);
    }
}

static void drop_removed(struct sc_sp_poller *poller)
{
    struct sc_sp_conn *conn;
    while ((conn = STAILQ_FIRST(&poller->removed)) != NULL) {
        STAILQ_REMOVE_HEAD(&poller->removed, removed);
        sc_sp_conn_unref(conn);
    }
}

/* ---- The thread ---- */

static void handle(struct sc_sp_poller *poller, const struct epoll_event *event)
{
    uint64_t count;
    if (event->data.ptr != NULL) {
        sc_sp_conn_ready(event->data.ptr, (event->events & ~(uint32_t)EPOLLIN) != 0);
    } else {
        (void)!read(poller->wake_fd, &count, sizeof count);
    }
}

/* Waits for events; returns how many there are. A server that many clients keep busy lets others
 * run before it sleeps: they have often sent more by then, and nobody has to wake it. */
static int await_events(const struct sc_sp_poller *poller, bool busy, struct epoll_event *events)
{
    int count = 0;
    for (int i = 0; busy && i < YIELDS_MAX && count == 0; i++) {
        sched_yield();
        count = epoll_wait(poller->epoll_fd, events, EVENTS_MAX, 0);
    }
    return count != 0 ? count : epoll_wait(poller->epoll_fd, events, EVENTS_MAX, -1);
}

static void *poller_thread(void *arg)
{
    struct sc_sp_hub *hub = arg;
    struct sc_sp_poller *poller = &hub->poller;
    struct epoll_event events[EVENTS_MAX];
    bool stop = false;
    bool busy = false;
    while (!stop) {
        int count = await_events(poller, busy, events);
        sc_sp_hub_lock(hub);
        poller->handling = true;
        for (int i = 0; i < count; i++) {
            handle(poller, &events[i]);
        }
        sc_sp_hub_settle(hub);
        poller->handling = false;
        drop_removed(poller);
        stop = poller->stop;
        busy = hub->busy && LIST_EMPTY(&hub->links); /* with links it is replies that it awaits */
        pthread_mutex_unlock(&hub->lock);
    }
    return NULL;
}

static int open_descriptors(struct sc_sp_poller *poller)
{
    poller->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    poller->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (poller->epoll_fd < 0 || poller->wake_fd < 0 ||
        epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, poller->wake_fd, &event) != 0) {
        return errno;
    }
    return 0;
}

static void close_descriptors(struct sc_sp_poller *poller)
{
    if (poller->epoll_fd >= 0) {
        (void)close(poller->epoll_fd);
    }
    if (poller->wake_fd >= 0) {
        (void)close(poller->wake_fd);
    }
}

int sc_sp_poller_start(struct sc_sp_hub *hub)
{
    struct sc_sp_poller *poller = &hub->poller;
    STAILQ_INIT(&poller->removed);
    if (hub->options.descriptor == NULL) {
        return 0;
    }
    int error = open_descriptors(poller);
    if (error == 0) {
        error = sc_sp_thread_start(&poller->thread, "sp:poller", poller_thread, hub);
    }
    if (error != 0) {
        close_descriptors(poller);
    }
    return error;
}

void sc_sp_poller_stop(struct sc_sp_hub *hub)
{
    struct sc_sp_poller *poller = &hub->poller;
    if (hub->options.descriptor == NULL) {
        return;
    }
    sc_sp_hub_lock(hub);
    poller->stop = true;
    wake(poller);
    sc_sp_hub_unlock(hub);
    pthread_join(poller->thread, NULL);
    close_descriptors(poller);
}
