/* Two calls of libfuse's, wrapped: how pyfuse3 gets its requests.

   An extension module that is loaded with RTLD_GLOBAL before pyfuse3 comes before libfuse where the
   dynamic linker looks up what pyfuse3 calls, as a library in LD_PRELOAD would. Each wrapper calls
   the function that pyfuse3 would have called.

   pyfuse3 calls both with the GIL held, one after the other without an await in between, so plain
   variables do. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define FUSE_USE_VERSION 31
#include <dlfcn.h>
#include <errno.h>
#include <fuse3/fuse_lowlevel.h>
#include <stddef.h>

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

/* pyfuse3 takes EAGAIN for a fatal error, and EINTR for a reason to try again. */
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
            buf->mem = NULL; /* the task would free it at its end */
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

static int zsofs_is_in_use(void)
{
    return zsofs_processed;
}
