/* A pool of threads that run jobs without Python: no interpreter lock to wait for, and no part of
 * the event loop to pass through. A job is memory of the caller, alive until it is done.
 *
 * Handing a 128 KiB read to trio's threads and back took longer than the read itself (the mount was
 * at 0.29 of its speed); this pool avoids that. */
#ifndef ZSOFS_CREW_H
#define ZSOFS_CREW_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { ZSOFS_QUEUED, ZSOFS_RUNNING, ZSOFS_DONE };

typedef struct zsofs_job zsofs_job;

struct zsofs_job {
    void (*run)(zsofs_job *);
    zsofs_job *next;
    int state;
    int detached; /* nobody waits any more: write to the eventfd when it is done */
};

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    pthread_cond_t done;
    zsofs_job *first;
    zsofs_job *last;
    zsofs_job *finished; /* of those that were detached */
    int queued;
    int idle;
    int threads;
    int most;
    int eventfd; /* an eventfd; -1 where no job is ever detached */
} zsofs_pool;

static inline int64_t zsofs_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Threads that have been idle for this long exit. */
enum { ZSOFS_IDLE_SECONDS = 30 };

static inline void zsofs_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* How long a waiter spins before it sleeps; 0 on a machine with one core. Being woken takes longer
 * than most jobs: through overlayfs random 4 KiB reads went from 8,800 to 19,500 per second, those
 * of 32 KiB from 6,300 to 11,500; sequential reads lost a tenth, which is within the noise. */
enum { ZSOFS_AWAKE_NS = 60000 };
static int64_t zsofs_awake_ns = 0;

/* Lives until the process exits, because its threads do. NULL: no memory. */
static zsofs_pool *zsofs_pool_new(int most, int eventfd)
{
    pthread_condattr_t clock;
    zsofs_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return NULL;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wanted, &clock);
    pthread_cond_init(&pool->done, &clock);
    pthread_condattr_destroy(&clock);
    pool->most = most;
    pool->eventfd = eventfd;
    return pool;
}

static void *zsofs_pool_work(void *of)
{
    zsofs_pool *pool = of;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        zsofs_job *job;
        while (pool->first == NULL) {
            struct timespec until;
            int late;
            clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_sec += ZSOFS_IDLE_SECONDS;
            pool->idle++;
            late = pthread_cond_timedwait(&pool->wanted, &pool->lock, &until) == ETIMEDOUT;
            pool->idle--;
            if (late && pool->first == NULL) {
                pool->threads--;
                pthread_mutex_unlock(&pool->lock);
                return NULL;
            }
        }
        job = pool->first;
        pool->first = job->next;
        pool->queued--;
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
                /* a full eventfd has been rung already */
            }
            pthread_mutex_lock(&pool->lock);
        } else {
            __atomic_store_n(&job->state, ZSOFS_DONE, __ATOMIC_RELEASE);
            pthread_cond_broadcast(&pool->done);
        }
    }
    return NULL;
}

/* Start a thread, with every signal blocked: signals belong to the event loop. Lock held. */
static int zsofs_pool_grow(zsofs_pool *pool)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    int failed;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&thread, &attributes, zsofs_pool_work, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (!failed)
        pool->threads++;
    return failed;
}

/* Returns 0, or an errno if the pool has no thread and none is available. */
static int zsofs_pool_start(zsofs_pool *pool, zsofs_job *job)
{
    int failed = 0;
    pthread_mutex_lock(&pool->lock);
    if (pool->queued >= pool->idle && pool->threads < pool->most) {
        failed = zsofs_pool_grow(pool);
        if (pool->threads)
            failed = 0;
    }
    if (!failed) {
        job->next = NULL;
        job->detached = 0;
        __atomic_store_n(&job->state, ZSOFS_QUEUED, __ATOMIC_RELAXED);
        if (pool->first)
            pool->last->next = job;
        else
            pool->first = job;
        pool->last = job;
        pool->queued++;
        if (pool->idle)
            pthread_cond_signal(&pool->wanted);
    }
    pthread_mutex_unlock(&pool->lock);
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
        zsofs_pause();
    }
    end = begun + nanoseconds;
    until.tv_sec = end / 1000000000;
    until.tv_nsec = end % 1000000000;
    pthread_mutex_lock(&pool->lock);
    while (job->state != ZSOFS_DONE
           && pthread_cond_timedwait(&pool->done, &pool->lock, &until) != ETIMEDOUT)
        ;
    done = job->state == ZSOFS_DONE;
    if (!done)
        job->detached = 1;
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
    if (job->state == ZSOFS_QUEUED) {
        zsofs_job **link = &pool->first, *before = NULL;
        while (*link != job) {
            before = *link;
            link = &before->next;
        }
        *link = job->next;
        if (pool->last == job)
            pool->last = before;
        pool->queued--;
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
