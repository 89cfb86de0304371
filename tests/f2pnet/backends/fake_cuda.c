/* A CUDA driver without a GPU, as far as the product uses one. Memory is the host's; a stream is a thread that does one
 * thing after another; what is captured is not done until its graph is launched. Rules whose breach a GPU punishes are
 * checked: a current context for each thread, no waiting for a stream that is being captured, copies only from and to
 * memory that was allocated, errors that stay. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INVALID_VALUE = 1, NO_CONTEXT = 201, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901 };
enum { MOST = 4096 };
typedef void (*work_fn)(uintptr_t *);
typedef struct op { work_fn work; uintptr_t with[6]; struct op *next; } op;
typedef struct { pthread_mutex_t lock; pthread_cond_t more; op *first, *last; long given, done; int capturing, broken; op *graph, *graph_last; } stream;
typedef struct { pthread_mutex_t lock; pthread_cond_t happened; long recorded, reached; unsigned flags; stream *captured_in; } event;
typedef struct { op *first; } graph;

static __thread int has_context;
static int sticky, live, spinning_events;
static struct { uintptr_t start, size; } blocks[MOST];
static pthread_mutex_t blocks_lock = PTHREAD_MUTEX_INITIALIZER;

#define ENTER if (sticky) return sticky; if (!has_context) return NO_CONTEXT

void fake_break(int code) { sticky = code; }
int fake_live(void) { return live; }
int fake_spinning_events(void) { return spinning_events; }

static int allocated(uintptr_t at, size_t size) {
    int found = 0;
    pthread_mutex_lock(&blocks_lock);
    for (int i = 0; i < MOST; i++)
        if (blocks[i].size && at >= blocks[i].start && at + size <= blocks[i].start + blocks[i].size) found = 1;
    pthread_mutex_unlock(&blocks_lock);
    return found;
}
static int allocate(void **at, size_t size) {
    *at = malloc(size);
    memset(*at, 0x5a, size);
    pthread_mutex_lock(&blocks_lock);
    for (int i = 0; i < MOST; i++)
        if (!blocks[i].size) { blocks[i].start = (uintptr_t)*at; blocks[i].size = size; break; }
    live++;
    pthread_mutex_unlock(&blocks_lock);
    return 0;
}
static int release(void *at) {
    int code = INVALID_VALUE;
    pthread_mutex_lock(&blocks_lock);
    for (int i = 0; i < MOST; i++)
        if (blocks[i].size && blocks[i].start == (uintptr_t)at) { blocks[i].size = 0; free(at); live--; code = 0; break; }
    pthread_mutex_unlock(&blocks_lock);
    return code;
}

static void *run_stream(void *given) {
    stream *s = given;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        while (!s->first) pthread_cond_wait(&s->more, &s->lock);
        op *o = s->first;
        s->first = o->next;
        if (!s->first) s->last = NULL;
        pthread_mutex_unlock(&s->lock);
        o->work(o->with);
        free(o);
        pthread_mutex_lock(&s->lock);
        s->done++;
        pthread_cond_broadcast(&s->more);
        pthread_mutex_unlock(&s->lock);
    }
}
static int give(stream *s, work_fn work, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e, uintptr_t f) {
    op *o = calloc(1, sizeof *o);
    o->work = work;
    uintptr_t with[] = {a, b, c, d, e, f};
    memcpy(o->with, with, sizeof with);
    pthread_mutex_lock(&s->lock);
    if (s->capturing) {
        if (s->graph_last) s->graph_last->next = o; else s->graph = o;
        s->graph_last = o;
    } else {
        if (s->last) s->last->next = o; else s->first = o;
        s->last = o;
        s->given++;
        pthread_cond_broadcast(&s->more);
    }
    pthread_mutex_unlock(&s->lock);
    return 0;
}

int cuInit(unsigned flags) { return sticky; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDriverGetVersion(int *v) { *v = 13000; return 0; }
int cuDeviceGet(int *d, int n) { *d = n; return 0; }
int cuDeviceGetName(char *name, int size, int d) { strncpy(name, "Fake GPU", size); return 0; }
int cuDeviceGetAttribute(int *v, int which, int d) { *v = which == 75 ? 9 : 0; return 0; }
int cuGetErrorName(int code, const char **name) {
    *name = code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : code == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : code == 214 ? "CUDA_ERROR_ECC_UNCORRECTABLE" : "CUDA_ERROR_SOME";
    return 0;
}
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = &live; return sticky; }
int cuDevicePrimaryCtxRelease_v2(int d) { ENTER; return 0; }
int cuCtxSetCurrent(void *c) { if (sticky) return sticky; has_context = c != NULL; return 0; }
int cuMemHostAlloc(void **at, size_t size, unsigned flags) { ENTER; return allocate(at, size); }
int cuMemFreeHost(void *at) { ENTER; return release(at); }
int cuMemAlloc_v2(void **at, size_t size) { ENTER; return allocate(at, size); }
int cuMemFree_v2(void *at) { ENTER; return release(at); }
int cuStreamCreate(stream **made, unsigned flags) {
    ENTER;
    stream *s = calloc(1, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    pthread_t thread;
    pthread_create(&thread, NULL, run_stream, s);
    pthread_detach(thread);
    *made = s;
    live++;
    return 0;
}
int cuStreamDestroy_v2(stream *s) { ENTER; live--; return 0; }
int cuEventCreate(event **made, unsigned flags) {
    ENTER;
    event *e = calloc(1, sizeof *e);
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->happened, NULL);
    e->flags = flags;
    spinning_events += !(flags & 1);
    *made = e;
    live++;
    return 0;
}
int cuEventDestroy_v2(event *e) { ENTER; live--; return 0; }

static void copy(uintptr_t *with) { memcpy((void *)with[0], (void *)with[1], with[2]); }
int cuMemcpyHtoDAsync_v2(uintptr_t to, uintptr_t from, size_t size, stream *s) {
    ENTER;
    if (!allocated(to, size) || !allocated(from, size)) return sticky = 700;
    return give(s, copy, to, from, size, 0, 0, 0);
}
int cuMemcpyDtoHAsync_v2(uintptr_t to, uintptr_t from, size_t size, stream *s) { return cuMemcpyHtoDAsync_v2(to, from, size, s); }

static void reach(uintptr_t *with) {
    event *e = (event *)with[0];
    pthread_mutex_lock(&e->lock);
    if (e->reached < (long)with[1]) e->reached = with[1];
    pthread_cond_broadcast(&e->happened);
    pthread_mutex_unlock(&e->lock);
}
static void await(uintptr_t *with) {
    event *e = (event *)with[0];
    pthread_mutex_lock(&e->lock);
    while (e->reached < (long)with[1]) pthread_cond_wait(&e->happened, &e->lock);
    pthread_mutex_unlock(&e->lock);
}
int cuEventRecord(event *e, stream *s) { ENTER; return give(s, reach, (uintptr_t)e, ++e->recorded, 0, 0, 0, 0); }
int cuStreamWaitEvent(stream *s, event *e, unsigned flags) { ENTER; return give(s, await, (uintptr_t)e, e->recorded, 0, 0, 0, 0); }
int cuEventSynchronize(event *e) { ENTER; uintptr_t with[] = {(uintptr_t)e, e->recorded}; await(with); return sticky; }
int cuStreamSynchronize(stream *s) {
    ENTER;
    if (s->capturing) { s->broken = 1; return CAPTURE_UNSUPPORTED; }
    pthread_mutex_lock(&s->lock);
    long wanted = s->given;
    while (s->done < wanted) pthread_cond_wait(&s->more, &s->lock);
    pthread_mutex_unlock(&s->lock);
    return sticky;
}
int cuStreamBeginCapture_v2(stream *s, int mode) {
    ENTER;
    if (s->capturing) return INVALID_VALUE;
    s->capturing = 1;
    s->broken = 0;
    s->graph = s->graph_last = NULL;
    return 0;
}
int cuStreamEndCapture(stream *s, graph **made) {
    ENTER;
    s->capturing = 0;
    if (s->broken) return CAPTURE_INVALIDATED;
    *made = calloc(1, sizeof **made);
    (*made)->first = s->graph;
    return 0;
}
int cuGraphInstantiateWithFlags(graph **made, graph *g, unsigned long long flags) { ENTER; *made = calloc(1, sizeof **made); **made = *g; live++; return 0; }
int cuGraphDestroy(graph *g) { ENTER; free(g); return 0; }
int cuGraphExecDestroy(graph *g) { ENTER; live--; return 0; }
int cuGraphLaunch(graph *g, stream *s) {
    ENTER;
    for (op *o = g->first; o; o = o->next) give(s, o->work, o->with[0], o->with[1], o->with[2], o->with[3], o->with[4], o->with[5]);
    return 0;
}

/* The engine: a pixel's brightness is its probability. It takes a while, so that what is not waited for shows. */
static void brightness(uintptr_t *with) {
    const uint8_t *image = (const uint8_t *)with[0];
    float *mask = (float *)with[1], *score = (float *)with[2];
    struct timespec while_ = {0, 300000};
    nanosleep(&while_, NULL);
    for (size_t n = 0; n < with[3]; n++) {
        score[n] = 0;
        for (size_t p = 0; p < with[4]; p++, image += 3) {
            float value = (image[0] + image[1] + image[2]) / 3.0f / 255.0f;
            *mask++ = value;
            if (value > score[n]) score[n] = value;
        }
    }
}
int fake_engine(stream *s, uintptr_t image, uintptr_t mask, uintptr_t score, size_t count, size_t pixels) {
    if (s->capturing == 0 && sticky) return sticky;
    return give(s, brightness, image, mask, score, count, pixels, 0);
}
