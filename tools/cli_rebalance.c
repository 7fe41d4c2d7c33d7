/* The command that shows and steers the moves of slots. */
#include <time.h>

#include "common/msg.h"
#include "tools/cli_commands.h"
#include "tools/cli_moves.h"
#include "tools/cli_output.h"

#define WATCH_MS 500

/* Writes the request that the options ask for. */
static bool put_request(const struct sc_cli_args *args, struct sc_buf *request, char *why)
{
    const char *rate = sc_cli_args_option(args, "rate");
    bool pause = sc_cli_args_flag(args, "pause");
    bool resume = sc_cli_args_flag(args, "resume");
    bool cancel = sc_cli_args_flag(args, "cancel");
    bool dry_run = sc_cli_args_flag(args, "dry-run");
    uint64_t bytes = 0;
    uint32_t options = (uint32_t)((pause || resume) + cancel + (rate != NULL));
    if (pause + resume + cancel > 1) {
        sc_fail(why, SC_BADREQUEST, "--pause, --resume and --cancel exclude each other");
        return false;
    }
    if (dry_run && (options > 0 || sc_cli_args_flag(args, "watch"))) {
        sc_fail(why, SC_BADREQUEST, "--dry-run changes nothing, and goes with no other option");
        return false;
    }
    if (rate != NULL && !sc_cli_args_uint(rate, 0, UINT64_MAX, &bytes)) {
        sc_fail(why, SC_BADREQUEST, "--rate %.60s is no number of bytes", rate);
        return false;
    }
    options += dry_run;
    sc_msg_put_op(request, SC_OP_REBALANCE, options > 0 ? 1 : 0);
    if (options > 0) {
        sc_mp_put_map(request, options);
    }
    if (pause || resume) {
        sc_mp_put_cstr(request, "pause");
        sc_mp_put_bool(request, pause);
    }
    if (cancel || dry_run) {
        sc_mp_put_cstr(request, cancel ? "cancel" : "dry_run");
        sc_mp_put_bool(request, true);
    }
    if (rate != NULL) {
        sc_mp_put_cstr(request, "bytes_per_second");
        sc_mp_put_uint(request, bytes);
    }
    return true;
}

/* Asks once and hands the answer to `show`. */
static int ask(struct sc_cli *cli, const struct sc_buf *request,
               bool (*show)(struct sc_cli *cli, void *arg, struct sc_slice result), void *arg)
{
    struct sc_cli_reply reply;
    struct sc_slice result = {NULL, 0};
    int code = sc_cli_ask(cli, "rebalance", sc_buf_slice(request), &reply);
    if (code != SC_CLI_DONE) {
        return code;
    }
    bool good = sc_mp_peek(&reply.result) == SC_MP_MAP && sc_mp_skip(&reply.result, &result) &&
                show(cli, arg, result);
    fflush(cli->out);
    sc_cli_reply_fini(&reply);
    return good ? SC_CLI_DONE : sc_cli_garbled(cli, "rebalance");
}

static bool show_plan(struct sc_cli *cli, void *arg, struct sc_slice plan)
{
    (void)arg;
    return sc_cli_moves_print_plan(cli, plan);
}

static bool show_state(struct sc_cli *cli, void *arg, struct sc_slice state)
{
    (void)arg;
    return sc_cli_moves_print_state(cli, state);
}

/* ---- Watching ---- */

struct watch {
    struct sc_cli_moves_view view;
    struct sc_buf shown; /* the last state */
    bool idle;
};

static bool show_change(struct sc_cli *cli, void *arg, struct sc_slice state)
{
    struct watch *watch = arg;
    watch->idle = sc_cli_moves_idle(state);
    if (sc_slice_equal(sc_buf_slice(&watch->shown), state)) {
        return true;
    }
    sc_buf_reset(&watch->shown, SIZE_MAX);
    sc_buf_append_slice(&watch->shown, state);
    return sc_cli_output_pretty(cli) ? sc_cli_moves_draw(cli, &watch->view, state)
                                     : sc_cli_output_json(cli, state);
}

static void wait_a_little(void)
{
    struct timespec pause = {.tv_nsec = WATCH_MS * 1000000L};
    nanosleep(&pause, NULL);
}

/* Until nothing is left. Only the first request carries the options. */
static int watch_moves(struct sc_cli *cli, struct sc_buf *request)
{
    struct watch watch = {.idle = false};
    int code = SC_CLI_DONE;
    sc_cli_catch_interrupts();
    while (code == SC_CLI_DONE && !watch.idle) {
        code = ask(cli, request, show_change, &watch);
        if (code == SC_CLI_DONE && !watch.idle) {
            sc_buf_reset(request, SIZE_MAX);
            sc_msg_put_op(request, SC_OP_REBALANCE, 0);
            wait_a_little();
        }
        if (sc_cli_interrupted()) {
            code = sc_cli_complain(cli, SC_CLI_ERROR,
                                   "rebalance: no longer watching; the moves go on");
        }
    }
    sc_buf_fini(&watch.shown);
    return code;
}

int sc_cli_rebalance(struct sc_cli *cli, const struct sc_cli_args *args)
{
    char why[SC_WHY_SIZE] = "";
    struct sc_buf request = {0};
    int code = SC_CLI_USAGE;
    if (!put_request(args, &request, why)) {
        sc_cli_complain(cli, code, "rebalance: %s", why);
    } else if (sc_cli_args_flag(args, "watch")) {
        code = watch_moves(cli, &request);
    } else {
        code = ask(cli, &request, sc_cli_args_flag(args, "dry-run") ? show_plan : show_state, NULL);
    }
    sc_buf_fini(&request);
    return code;
}
