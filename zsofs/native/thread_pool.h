/* A pool of threads that run jobs without Python: no interpreter lock to wait for, and no part of
 * the event loop to pass through. A job is memory of the caller, alive until it is done.
 *
 * Handing a 128 KiB read to trio's threads and back took longer than the read itself (the mount was
 * at 0.29 of its speed); this pool avoids that. */
#ifndef ZSOFS_THREAD_POOL_H
#define ZSOFS_THREAD_POOL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ZSOFS_QUEUED, ZSOFS_RUNNING, ZSOFS_DONE };

typedef struct zsofs_job zsofs_job;
typedef struct zsofs_worker zsofs_worker;
typedef struct zsofs_pool zsofs_pool;

struct zsofs_job {
    void (*run)(zsofs_job *);
    zsofs_job *next;
    zsofs_worker *worker; /* whose turn it is; NULL: it is in the queue */
    int state;
    int detached; /* nobody waits any more: write to the eventfd when it is done */
};

struct zsofs_worker {
    zsofs_pool *pool;
    pthread_t thread;
    zsofs_job *job;
    zsofs_worker *below; /* in the stack of idle threads */
    int runs;
    int idle; /* 1 while it sleeps, a futex(2) */
    int leaves;
    int cpu; /* the only one that it may use; -1: any */
};

struct zsofs_pool {
    pthread_mutex_t lock;
    pthread_cond_t done;
    zsofs_job *first;
    zsofs_job *last;
    zsofs_job *finished; /* of those that were detached */
    zsofs_worker *workers; /* as many as *most*; they stay, so that one can be woken without the lock */
    zsofs_worker *idle;    /* the last one that worked is the next: its caches are warm */
    int threads;
    int most;
    int eventfd; /* an eventfd; -1 where no job is ever detached */
    int places;  /* whether threads are moved to the processor of who waits */
};

static inline int64_t zsofs_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void zsofs_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* How long a waiter yields, awake, before it sleeps; 0 on a machine with one core. Sleeping is for
 * jobs that wait for a disk: being woken takes longer than a read of bytes in memory. */
enum { ZSOFS_AWAKE_NS = 60000 };
static int64_t zsofs_awake_ns = 0;

/* Lives until the process exits, because its threads do. NULL: no memory. */
static zsofs_pool *zsofs_pool_new(int most, int eventfd)
{
    pthread_condattr_t clock;
    cpu_set_t allowed;
    int number;
    zsofs_pool *pool = calloc(1, sizeof *pool);
    zsofs_worker *workers = calloc(most, sizeof *workers);
    if (pool == NULL || workers == NULL) {
        free(pool);
        free(workers);
        return NULL;
    }
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->done, &clock);
    for (number = 0; number < most; number++)
        workers[number].pool = pool;
    pthread_condattr_destroy(&clock);
    pool->workers = workers;
    pool->most = most;
    pool->eventfd = eventfd;
    pool->places = sched_getaffinity(0, sizeof allowed, &allowed) == 0; /* not of 1,024 processors */
    return pool;
}

static zsofs_job *zsofs_pool_take(zsofs_pool *pool)
{
    zsofs_job *job = pool->first;
    if (job != NULL)
        pool->first = job->next;
    return job;
}

/* Sleep until there is a job; returns whether there is, or the thread is to exit. Lock held.
 *
 * A futex without an end: with a condition variable and a timeout, waking and sleeping took 1.0
 * microsecond more, a sixth of what a read in a thread costs. */
static int zsofs_worker_rest(zsofs_worker *worker)
{
    zsofs_pool *pool = worker->pool;
    __atomic_store_n(&worker->idle, 1, __ATOMIC_RELAXED);
    worker->below = pool->idle;
    pool->idle = worker;
    pthread_mutex_unlock(&pool->lock);
    while (__atomic_load_n(&worker->idle, __ATOMIC_ACQUIRE))
        syscall(SYS_futex, &worker->idle, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    pthread_mutex_lock(&pool->lock);
    if (!worker->leaves)
        return 1;
    worker->leaves = 0;
    return pool->first != NULL; /* a job that came meanwhile, when there were as many as may be */
}

/* Take the thread that worked last from those that are idle; the caller wakes it. Lock held. */
static zsofs_worker *zsofs_pool_pop(zsofs_pool *pool)
{
    zsofs_worker *worker = pool->idle;
    if (worker != NULL)
        pool->idle = worker->below;
    return worker;
}

/* The thread takes the lock at once, perhaps instead of the caller on its processor. Lock not held. */
static void zsofs_worker_wake(zsofs_worker *worker)
{
    __atomic_store_n(&worker->idle, 0, __ATOMIC_RELEASE);
    syscall(SYS_futex, &worker->idle, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Let all idle threads exit. */
static void zsofs_pool_let_go(zsofs_pool *pool)
{
    zsofs_worker *worker;
    do {
        pthread_mutex_lock(&pool->lock);
        worker = zsofs_pool_pop(pool);
        if (worker != NULL)
            worker->leaves = 1;
        pthread_mutex_unlock(&pool->lock);
        if (worker != NULL)
            zsofs_worker_wake(worker);
    } while (worker != NULL);
}

static void zsofs_worker_do(zsofs_worker *worker)
{
    zsofs_pool *pool = worker->pool;
    zsofs_job *job = worker->job;
    worker->job = NULL;
    job->worker = worker;
    __atomic_store_n(&job->state, ZSOFS_RUNNING, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&pool->lock);
    job->run(job);
    pthread_mutex_lock(&pool->lock);
    if (job->detached) {
        uint64_t one = 1;
        job->next = pool->finished;
        pool->finished = job;
        __atomic_store_n(&job->state, ZSOFS_DONE, __ATOMIC_RELEASE);
        pthread_mutex_unlock(&pool->lock);
        if (write(pool->eventfd, &one, sizeof one) < 0) {
            /* a full eventfd is readable already */
        }
        pthread_mutex_lock(&pool->lock);
    } else {
        __atomic_store_n(&job->state, ZSOFS_DONE, __ATOMIC_RELEASE);
        pthread_cond_broadcast(&pool->done);
    }
}

/* The processors that a thread may use which nobody has moved: those of the event loop, the first
 * thread of the process. A thread of a pool cannot tell by its own. Returns whether *allowed* has
 * them. */
static int zsofs_pool_allowed(cpu_set_t *allowed)
{
    return sched_getaffinity(getpid(), sizeof *allowed, allowed) == 0;
}

/* Let a thread use one processor only, or all that the event loop may use (-1). Lock held. */
static void zsofs_worker_place(zsofs_worker *worker, int cpu)
{
    cpu_set_t allowed;
    if (worker->cpu == cpu)
        return;
    if (cpu < 0) {
        if (!zsofs_pool_allowed(&allowed))
            return;
    } else {
        if (!worker->pool->places || cpu >= CPU_SETSIZE)
            return;
        CPU_ZERO(&allowed);
        CPU_SET(cpu, &allowed);
    }
    if (pthread_setaffinity_np(worker->thread, sizeof allowed, &allowed) == 0)
        worker->cpu = cpu;
    else if (cpu >= 0) /* the sandbox of the service forbids it */
        worker->pool->places = 0;
}

static void *zsofs_pool_work(void *of)
{
    zsofs_worker *worker = of;
    zsofs_pool *pool = worker->pool;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        if (worker->job == NULL) {
            worker->job = zsofs_pool_take(pool);
            if (worker->job != NULL) /* nobody waits for it awake */
                zsofs_worker_place(worker, -1);
        }
        if (worker->job != NULL)
            zsofs_worker_do(worker);
        else if (!zsofs_worker_rest(worker))
            break;
    }
    worker->runs = 0;
    pool->threads--;
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Start a thread with a job, and with every signal blocked: signals belong to the event loop. Lock
 * held, and fewer threads than there may be. Returns an errno. */
static int zsofs_pool_grow(zsofs_pool *pool, zsofs_job *job)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    zsofs_worker *worker = pool->workers;
    cpu_set_t own, allowed;
    int failed;
    while (worker->runs)
        worker++;
    worker->cpu = -1;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&worker->thread, &attributes, zsofs_pool_work, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (failed)
        return failed;
    /* Where a thread of another pool starts it, it may have inherited the one processor of that. */
    if (zsofs_pool_allowed(&allowed)
        && pthread_getaffinity_np(worker->thread, sizeof own, &own) == 0
        && !CPU_EQUAL(&own, &allowed))
        pthread_setaffinity_np(worker->thread, sizeof allowed, &allowed);
    worker->job = job;
    worker->runs = 1;
    job->worker = worker;
    pool->threads++;
    return 0;
}

/* Returns 0, or an errno if the pool has no thread and none is available.
 *
 * With *near*, the caller is about to wait for it. Then an idle thread may use the caller's
 * processor only, and runs as soon as the caller yields: two switches on one processor, 4
 * microseconds. Waking another one takes longer than the job, and two threads that stay awake for
 * each other take both processors from the program that reads. Two cores, LZ4 in 2 KiB blocks,
 * with threads anywhere and a waiter that spins, then so: 4 KiB take 16.7 and 11.5 microseconds
 * (inline 5.2) and 29 and 13 of CPU time, 128 KiB 104 and 55 (inline 43), and 125 and 50. */
static int zsofs_pool_start(zsofs_pool *pool, zsofs_job *job, int near)
{
    zsofs_worker *worker;
    int failed = 0;
    pthread_mutex_lock(&pool->lock);
    job->next = NULL;
    job->worker = NULL;
    job->detached = 0;
    __atomic_store_n(&job->state, ZSOFS_QUEUED, __ATOMIC_RELAXED);
    worker = zsofs_pool_pop(pool);
    if (worker != NULL) {
        worker->job = job;
        job->worker = worker;
        zsofs_worker_place(worker, near ? sched_getcpu() : -1);
    } else if (pool->threads == pool->most || (failed = zsofs_pool_grow(pool, job)) != 0) {
        if (pool->threads) {
            failed = 0;
            if (pool->first)
                pool->last->next = job;
            else
                pool->first = job;
            pool->last = job;
        }
    }
    pthread_mutex_unlock(&pool->lock);
    if (worker != NULL)
        zsofs_worker_wake(worker);
    return failed;
}

/* Returns whether the job was done within that many nanoseconds. If not, it is detached. */
static int zsofs_pool_wait(zsofs_pool *pool, zsofs_job *job, int64_t nanoseconds)
{
    struct timespec until;
    int64_t begun, end;
    int done;
    if (__atomic_load_n(&job->state, __ATOMIC_ACQUIRE) == ZSOFS_DONE)
        return 1;
    begun = zsofs_now();
    end = begun + (nanoseconds < zsofs_awake_ns ? nanoseconds : zsofs_awake_ns);
    while (zsofs_now() < end) {
        if (__atomic_load_n(&job->state, __ATOMIC_ACQUIRE) == ZSOFS_DONE)
            return 1;
        sched_yield();
    }
    end = begun + nanoseconds;
    until.tv_sec = end / 1000000000;
    until.tv_nsec = end % 1000000000;
    pthread_mutex_lock(&pool->lock);
    while (job->state != ZSOFS_DONE
           && pthread_cond_timedwait(&pool->done, &pool->lock, &until) != ETIMEDOUT)
        ;
    done = job->state == ZSOFS_DONE;
    if (!done) {
        job->detached = 1;
        if (job->worker != NULL)
            zsofs_worker_place(job->worker, -1);
    }
    pthread_mutex_unlock(&pool->lock);
    return done;
}

/* Return when no thread works on the job: remove it from the queue if it has not started. */
static void zsofs_pool_wait_or_cancel(zsofs_pool *pool, zsofs_job *job)
{
    /* It ends within one part of the work (about 25 microseconds): sleeping would take longer. */
    int64_t end = zsofs_now() + ZSOFS_AWAKE_NS;
    while (__atomic_load_n(&job->state, __ATOMIC_ACQUIRE) == ZSOFS_RUNNING && zsofs_now() < end)
        zsofs_pause();
    if (__atomic_load_n(&job->state, __ATOMIC_ACQUIRE) == ZSOFS_DONE) {
        /* The thread that did it still holds the lock or is about to let go of it, which does not
         * concern the job's memory any more. */
        return;
    }
    pthread_mutex_lock(&pool->lock);
    if (job->state == ZSOFS_QUEUED && job->worker != NULL) {
        job->worker->job = NULL;
    } else if (job->state == ZSOFS_QUEUED) {
        zsofs_job **link = &pool->first, *before = NULL;
        while (*link != job) {
            before = *link;
            link = &before->next;
        }
        *link = job->next;
        if (pool->last == job)
            pool->last = before;
    } else {
        while (job->state != ZSOFS_DONE)
            pthread_cond_wait(&pool->done, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}

/* Returns those that were detached and are done, as a list by ``next``. */
static zsofs_job *zsofs_pool_finished(zsofs_pool *pool)
{
    zsofs_job *jobs;
    pthread_mutex_lock(&pool->lock);
    jobs = pool->finished;
    pool->finished = NULL;
    pthread_mutex_unlock(&pool->lock);
    return jobs;
}

#endif
