/* /dev/sev-guest, played for the sentinel by a process of the test: loaded before the C library, it gives the real
 * program's open() a socket, and answers its ioctl() with what the test signs. So what is tested is the program as it
 * is, with the kernel's own structures; that real hardware answers alike is not. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sev-guest.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int device = -1;

static int connect_to_test(void) {
  const char* path = getenv("TB_TEST_SEV_GUEST");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path ? path : "", sizeof address.sun_path - 1);
  device = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(device, (struct sockaddr*)&address, sizeof address) != 0) return -1;
  return device;
}

static int open_file(const char* name, const char* path, int flags, int mode) {
  if (strcmp(path, "/dev/sev-guest") == 0) return connect_to_test();
  int (*real)(const char*, int, ...) = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, name);
  return real(path, flags, mode);
}

static int mode_of(int flags, va_list more) {
  return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(more, int) : 0;
}

int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int mode = mode_of(flags, more);
  va_end(more);
  return open_file("open", path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int mode = mode_of(flags, more);
  va_end(more);
  return open_file("open64", path, flags, mode);
}

static int receive(int fd, void* to, size_t bytes) {
  return recv(fd, to, bytes, MSG_WAITALL) == (ssize_t)bytes ? 0 : -1;
}

int ioctl(int fd, unsigned long what, ...) {
  va_list more;
  va_start(more, what);
  void* argument = va_arg(more, void*);
  va_end(more);
  if (fd != device || what != SNP_GET_EXT_REPORT) {
    int (*real)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
    return real(fd, what, argument);
  }
  const struct snp_guest_request_ioctl* request = argument;
  const struct snp_ext_report_req* asked = (const void*)request->req_data;
  /* As the kernel has it: a version, and a buffer of whole pages. */
  if (request->msg_version == 0 || asked->certs_len != 0x4000 || asked->data.vmpl != 0) return errno = EINVAL, -1;
  if (send(fd, asked->data.user_data, 64, 0) != 64 || receive(fd, (void*)request->resp_data, 4000) != 0 ||
      receive(fd, (void*)asked->certs_address, asked->certs_len) != 0) {
    return errno = EIO, -1;
  }
  return 0;
}
