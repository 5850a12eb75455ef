/* Calls of libfuse's, wrapped: how pyfuse3 begins its session and gets its requests.

   An extension module that is loaded with RTLD_GLOBAL before pyfuse3 comes before libfuse where the
   dynamic linker looks up what pyfuse3 calls, as a library in LD_PRELOAD would. Each wrapper calls
   the function that pyfuse3 would have called.

   pyfuse3 calls them with the GIL held, and processes what it has received without an await in
   between, so plain variables do. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define FUSE_USE_VERSION 31
#include <dlfcn.h>
#include <errno.h>
#include <fuse3/fuse_lowlevel.h>
#include <stddef.h>
#include <string.h>

typedef int (*zsofs_receive)(struct fuse_session *, struct fuse_buf *);
typedef void (*zsofs_process)(struct fuse_session *, const struct fuse_buf *);

/* What requests are received in. It is lent for one request: everything that outlives the call of
   fuse_session_process_buf() has been copied by then. A buffer of 1 MiB for each task, as pyfuse3
   has it, is address space that a 32-bit machine does not have for thousands of tasks. */
static void *zsofs_buffer;
static int zsofs_processed;

/* The function *name* of the libraries that the caller at *address* is linked to. */
static void *zsofs_original(void *address, const char *name)
{
    Dl_info caller;
    void *library, *found = NULL;

    if (dladdr(address, &caller) == 0)
        return NULL;
    library = dlopen(caller.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (library != NULL) {
        found = dlsym(library, name);
        dlclose(library); /* it stays loaded: it is the caller */
    }
    return found;
}

/* pyfuse3 treats EAGAIN as a fatal error, and EINTR as a reason to retry. */
int fuse_session_receive_buf(struct fuse_session *session, struct fuse_buf *buf)
{
    static zsofs_receive original;
    /* The first request sets the size of later ones, so its buffer stays the task's own. */
    int lends = zsofs_processed && buf->mem == NULL, size;

    if (original == NULL)
        original = (zsofs_receive)zsofs_original(__builtin_return_address(0), __func__);
    if (original == NULL)
        return -ENOSYS;
    if (lends)
        buf->mem = zsofs_buffer;
    size = original(session, buf);
    if (lends) {
        zsofs_buffer = buf->mem; /* libfuse allocates the first one */
        if (size <= 0)
            buf->mem = NULL; /* the task would free it when it ends */
    }
    return size == -EAGAIN ? -EINTR : size;
}

void fuse_session_process_buf(struct fuse_session *session, const struct fuse_buf *buf)
{
    static zsofs_process original;

    if (original == NULL)
        original = (zsofs_process)zsofs_original(__builtin_return_address(0), __func__);
    if (original == NULL)
        return;
    zsofs_processed = 1;
    original(session, buf);
    if (buf->mem != NULL && buf->mem == zsofs_buffer)
        ((struct fuse_buf *)buf)->mem = NULL;
}

/* libfuse 3.17 made this a macro over another function. */
#if FUSE_VERSION < FUSE_MAKE_VERSION(3, 17)

typedef struct fuse_session *(*zsofs_new)(struct fuse_args *, const struct fuse_lowlevel_ops *,
                                          size_t, void *);

static void (*zsofs_original_init)(void *, struct fuse_conn_info *);

/* The kernel's own limit of 12 is shared by all files: 12 reads that hang on one disk stop all
   others. Root can raise it later, by /sys/fs/fuse/connections (system/fuse_mount.py); this needs no
   privileges. pyfuse3 has no setting for it. */
static void zsofs_init(void *userdata, struct fuse_conn_info *conn)
{
    if (zsofs_original_init != NULL)
        zsofs_original_init(userdata, conn);
    conn->max_background = 96;
}

struct fuse_session *fuse_session_new(struct fuse_args *args, const struct fuse_lowlevel_ops *op,
                                      size_t op_size, void *userdata)
{
    zsofs_new original = (zsofs_new)zsofs_original(__builtin_return_address(0), __func__);
    struct fuse_lowlevel_ops ops = {0};

    if (original == NULL)
        return NULL;
    if (op_size > sizeof(ops)) /* of a newer libfuse */
        return original(args, op, op_size, userdata);
    memcpy(&ops, op, op_size);
    zsofs_original_init = ops.init;
    ops.init = zsofs_init;
    return original(args, &ops, op_size, userdata);
}

#endif

static int zsofs_is_in_use(void)
{
    return zsofs_processed;
}
