/* The pool: started at first use, asleep while idle, gone after fork.

   The caller works too.  Every worker has a share of the tasks, the same one in every call alike, so that it finds in
   its caches what it left there; who is done with his own share takes from the others'.  A call that finds the pool busy
   with another Python thread's call runs on its own thread alone: nobody waits for somebody else's convolution. */
#include "thread.h"
#include "subnormal.h"

#include <stdatomic.h>

#if defined(_WIN32)

void engine_parallel(int64_t threads, int64_t tasks, void (*body)(void *, int64_t, int64_t), void *context) {
    (void)threads;
    for (int64_t task = 0; task < tasks; task++) body(context, task, 0);
}

#else

#include <pthread.h>
#include <sched.h>

enum { MAX_THREADS = 256, SPINS = 2000 };

static pthread_mutex_t callers = PTHREAD_MUTEX_INITIALIZER; /* held by the call that owns the pool */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;    /* guards the sleep below */
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_cond_t done = PTHREAD_COND_INITIALIZER;

static int64_t started; /* helpers alive, all others than the callers; the owner of the pool writes it */

/* The number of the current job, whether helpers may still begin to help with it, and how many are at it.  A helper that
   wakes up too late finds the job closed: the caller has done its share and waits for those alone that are at work. */
enum { CLOSED = 1 << 15, INSIDE = CLOSED - 1, JOB = 1 << 16 };
static _Atomic uint64_t state = CLOSED;

static struct {
    void (*body)(void *, int64_t, int64_t);
    void *context;
    int64_t helpers; /* helpers 1..helpers take part */
    uint64_t mode;   /* of the caller's floating-point arithmetic, which the helpers adopt */
} job;

/* The tasks of each worker that nobody has begun, on a cache line of its own. */
static struct {
    _Alignas(64) _Atomic int64_t next;
    int64_t end;
} share[MAX_THREADS];

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void share_out(int64_t tasks, int64_t workers) {
    for (int64_t w = 0; w < workers; w++) {
        int64_t first = tasks / workers * w + tasks % workers * w / workers;
        atomic_store_explicit(&share[w].next, first, memory_order_relaxed);
        share[w].end = tasks / workers * (w + 1) + tasks % workers * (w + 1) / workers;
    }
}

static void work(int64_t worker) {
    int64_t workers = job.helpers + 1, task;
    for (int64_t k = 0; k < workers; k++) {
        int64_t whose = worker + k < workers ? worker + k : worker + k - workers;
        while ((task = atomic_fetch_add_explicit(&share[whose].next, 1, memory_order_relaxed)) < share[whose].end)
            job.body(job.context, task, worker);
    }
}

static int is_new(uint64_t now, uint64_t seen) { return !(now & CLOSED) && now / JOB != seen; }

/* Whether a job after the one that was `seen` could be joined, which it is then. */
static int join(uint64_t *seen) {
    uint64_t now = atomic_load_explicit(&state, memory_order_relaxed);
    while (is_new(now, *seen))
        if (atomic_compare_exchange_weak_explicit(&state, &now, now + 1, memory_order_acquire, memory_order_relaxed)) {
            *seen = now / JOB;
            return 1;
        }
    return 0;
}

static void leave(void) {
    uint64_t before = atomic_fetch_sub_explicit(&state, 1, memory_order_release);
    if ((before & CLOSED) && (before & INSIDE) == 1) { /* the last one, and the caller may be asleep */
        pthread_mutex_lock(&lock);
        pthread_cond_signal(&done);
        pthread_mutex_unlock(&lock);
    }
}

static void *helper(void *argument) {
    int64_t worker = (int64_t)(intptr_t)argument;
    uint64_t seen = 0;
    for (;;) {
        /* a short spin catches the next layer of a network, then sleep until somebody calls */
        int joined = join(&seen);
        for (int spin = 0; spin < SPINS && !joined; spin++) relax(), joined = join(&seen);
        if (!joined) {
            pthread_mutex_lock(&lock);
            while (!is_new(atomic_load_explicit(&state, memory_order_relaxed), seen)) pthread_cond_wait(&wake, &lock);
            pthread_mutex_unlock(&lock);
            continue;
        }
        if (worker <= job.helpers) {
            set_floating_mode(job.mode);
            work(worker);
        }
        leave();
    }
    return NULL;
}

/* A child has none of its parent's threads: begin anew there, with every lock free. */
static void forget(void) {
    pthread_mutex_init(&callers, NULL);
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&wake, NULL);
    pthread_cond_init(&done, NULL);
    started = 0;
    atomic_store(&state, CLOSED);
}

static void start(int64_t wanted) {
    static int registered;
    if (!registered) registered = !pthread_atfork(NULL, NULL, forget);
    while (started < wanted) {
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        int failed = pthread_create(&thread, &attributes, helper, (void *)(intptr_t)(started + 1));
        pthread_attr_destroy(&attributes);
        if (failed) return; /* fewer threads than asked for is slower, not wrong */
        started++;
    }
}

void engine_parallel(int64_t threads, int64_t tasks, void (*body)(void *, int64_t, int64_t), void *context) {
    if (threads > tasks) threads = tasks;
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (threads < 2 || pthread_mutex_trylock(&callers)) {
        for (int64_t task = 0; task < tasks; task++) body(context, task, 0);
        return;
    }
    start(threads - 1);
    job.body = body;
    job.context = context;
    job.helpers = threads - 1;
    job.mode = floating_mode();
    share_out(tasks, threads);
    pthread_mutex_lock(&lock);
    uint64_t number = atomic_load_explicit(&state, memory_order_relaxed) / JOB + 1;
    atomic_store_explicit(&state, number * JOB, memory_order_release);
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&lock);

    work(0);

    uint64_t inside = atomic_fetch_or_explicit(&state, CLOSED, memory_order_acquire) & INSIDE;
    for (int spin = 0; spin < SPINS && inside; spin++) {
        relax();
        inside = atomic_load_explicit(&state, memory_order_acquire) & INSIDE;
    }
    if (inside) {
        pthread_mutex_lock(&lock);
        while (atomic_load_explicit(&state, memory_order_acquire) & INSIDE) pthread_cond_wait(&done, &lock);
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_unlock(&callers);
}

#endif
