// What this kernel allows this process, tried out once at run time: the same program meets old kernels, containers
// without rights and machines whose administrator turned features off.
//
// Whoever uses a feature takes this struct, so that a test can force each of them off and run what then takes its
// place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace tb::deliver {

struct Kernel {
  /// A tmpfs of our own can be made (fsopen and fsmount: kernel 5.2, CAP_SYS_ADMIN). Whether it can be attached where
  /// it is wanted shows when it is.
  bool own_tmpfs = false;
  /// Value of the tmpfs option `huge` that gave a file huge pages: "within_size" or "always"; empty: none did.
  std::string tmpfs_huge;
  bool tmpfs_noswap = false;          ///< tmpfs takes the option `noswap` (kernel 6.4, root outside of user namespaces)
  bool vmsplice = false;              ///< pages can be given to a pipe
  std::size_t pipe_bytes = 0;         ///< capacity that a pipe of ours can get, at most kMostPipeBytes
  bool anonymous_huge_pages = false;  ///< memory gets them when it asks (transparent_hugepage/enabled)
  bool lock_memory = false;           ///< all memory may be locked: CAP_IPC_LOCK or no RLIMIT_MEMLOCK
  std::string swap_device;            ///< first of /proc/swaps, or why it cannot be read; empty: swap is off
};

/// A chunk of the usual size goes in at once. More would only hold more plaintext outside of our hands.
inline constexpr std::size_t kMostPipeBytes = std::size_t{4} << 20;
inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

/// Tries everything out; a few milliseconds. Never fails: what cannot be found out is not there.
Kernel probe_kernel();

/// The device in the first row of `proc_swaps`, the text of /proc/swaps; empty if there is none. Pure.
std::string swap_device(std::string_view proc_swaps);
/// True if the text of /sys/kernel/mm/transparent_hugepage/enabled gives huge pages to who asks for them. Pure.
bool huge_pages_on_request(std::string_view enabled);

}  // namespace tb::deliver
