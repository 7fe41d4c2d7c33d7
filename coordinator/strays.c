#include "coordinator/strays.h"

#include "common/msg.h"

#include <stdlib.h>

/* Nobody waits for the answer: a shard that is lost meanwhile is told again when it comes back. */
static void on_told(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    (void)status;
    (void)body;
    free(call);
}

static void let_go(const struct sc_cluster *cluster, struct sc_backend *backend, uint64_t move,
                   void (*put)(struct sc_buf *out, uint64_t move))
{
    if (move == 0 || sc_cluster_batch(cluster, move) != NULL) {
        return;
    }
    struct sc_buf request = {0};
    struct sc_backend_call *call = sc_calloc(1, sizeof *call);
    call->done = on_told;
    put(&request, move);
    sc_backend_call(backend, call, sc_buf_slice(&request));
    sc_buf_fini(&request);
}

void sc_strays_look(const struct sc_cluster *cluster, struct sc_backend *backend)
{
    const struct sc_introduction_hello *hello = sc_backend_hello(backend);
    let_go(cluster, backend, hello->importing, sc_msg_put_drop);
    let_go(cluster, backend, hello->exporting, sc_msg_put_release);
}
