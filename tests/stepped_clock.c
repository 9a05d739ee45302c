/* The time of day as it is after somebody has set the clock: preloaded into the processes of a build.
 *
 * The step, in nanoseconds, is eight bytes of the file that TERRAWEFT_CLOCK_STEP names; it may change at any time, for
 * all processes at once. The time of day alone is moved, as by NTP or by hand: what counts from the start of the
 * machine, all sleeps, and the times of files stay as they are. Not libfaketime: under its version 0.9.10 a sleep until a
 * moment of the monotonic clock, which Python's are, is refused (EINVAL) where that clock is not to be moved.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static volatile int64_t *step;

__attribute__((constructor)) static void find_step(void) {
    const char *path = getenv("TERRAWEFT_CLOCK_STEP");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) abort();
    void *place = mmap(NULL, sizeof *step, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (place == MAP_FAILED) abort();
    step = place;
}

int clock_gettime(clockid_t clock, struct timespec *found) {
    int code = (int)syscall(SYS_clock_gettime, clock, found);
    if (code == 0 && step && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t now = found->tv_sec * SECOND + found->tv_nsec + *step;
        found->tv_sec = now / SECOND;
        found->tv_nsec = now % SECOND;
    }
    return code;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    found->tv_sec = now.tv_sec;
    found->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}
