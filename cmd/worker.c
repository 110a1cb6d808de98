/* edge-eval worker: the child side of a stage. Started by edge-eval run, never by a person. */
#include "cmd.h"

#include "base/clock.h"
#include "base/process.h"
#include "lifecycle/worker.h"

#include <sys/socket.h>

int cmd_worker(int argc, char **argv) {
    const int64_t main_ns = clock_mono_ns();
    (void)argc;
    (void)argv;
    int type = 0;
    socklen_t len = sizeof(type);
    if (getsockopt(PROCESS_CHANNEL_FD, SOL_SOCKET, SO_TYPE, &type, &len) != 0) {
        fprintf(stderr, "edge-eval: workers are started by edge-eval run, not by hand\n");
        return EXIT_USAGE;
    }
    return worker_main(main_ns);
}
