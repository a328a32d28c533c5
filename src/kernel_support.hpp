// What every kernel needs: processor dispatch, inlining and a small parallel loop.
#pragma once

// Nobody looks at floating-point exception flags; without them, comparisons vectorise. Products and
// sums are rounded one by one, so that every build and every clone gives the same pixels.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math", "fp-contract=off")
#elif defined(__clang__)
#pragma clang fp contract(off)
#endif

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

// One binary serves every x86-64 machine: the loader picks the clone the processor can run.
// Other architectures (aarch64) have their vector unit in the baseline.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
#define RMPSAM_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define RMPSAM_CLONES
#endif

// Helpers of a cloned function must be inlined into it, or they stay baseline code.
#define RMPSAM_INLINE static inline __attribute__((always_inline))

#define RMPSAM_API extern "C" __attribute__((visibility("default")))

namespace rmpsam {

// Error codes of the C interface.
enum : int { kOk = 0, kBadArgument = 1, kOutOfMemory = 2 };

// Calls body(worker, index) for every index in [0, count) from up to `threads` threads. Indices are
// handed out one by one, so that uneven work balances. The first exception is rethrown here.
template <class Body>
void parallel_for(int count, int threads, const Body& body) {
  threads = std::max(1, std::min(threads, count));
  std::atomic<int> next{0};
  std::exception_ptr error;
  std::mutex error_mutex;
  const auto work = [&](int worker) {
    try {
      for (int i = next.fetch_add(1); i < count; i = next.fetch_add(1)) body(worker, i);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(error_mutex);
      if (!error) error = std::current_exception();
    }
  };
  std::vector<std::thread> pool;
  pool.reserve(static_cast<size_t>(threads - 1));
  for (int worker = 1; worker < threads; ++worker) {
    try {
      pool.emplace_back(work, worker);
    } catch (const std::system_error&) {
      break;  // no more threads to be had: the others do the work
    }
  }
  work(0);
  for (std::thread& thread : pool) thread.join();
  if (error) std::rethrow_exception(error);
}

// Runs the body of a C function; no exception leaves the library.
template <class Body>
int guarded(const Body& body) noexcept {
  try {
    return body();
  } catch (...) {
    return kOutOfMemory;
  }
}

}  // namespace rmpsam
