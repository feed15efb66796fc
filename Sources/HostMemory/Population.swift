internal import CHostMemory
internal import Glibc
public import VMTypes

/// Brings memory in before it is read, so that what can't be had is an error rather than a signal.
public enum Population {
    /// Makes every page of a range of mapped addresses present and readable, filling what is filled on demand.
    ///
    /// - Throws: `.io` where a page could not be had: it lies beyond its object's end, or could not be filled; `.full`
    ///   where the host lacks memory.
    public static func load(address: UInt64, byteCount: Int) throws(StoreError) {
        guard byteCount > 0 else { return }
        let populateRead: Int32 = 22
        do throws(StoreError) { try SystemCall.advise(address, byteCount, populateRead) } catch {
            guard error.errno != ENOMEM else {
                throw StoreError(
                    .full, "no memory for \(byteCount) bytes at \(hexadecimal(address))", advice: "Free memory, then try again",
                    errno: ENOMEM)
            }
            throw StoreError(
                .io, "a page of \(hexadecimal(address)) + \(byteCount) bytes lies beyond its object's end or can't be filled",
                advice: "Run `varve verify` where it should be there", errno: error.errno)
        }
    }
}

extension Population {
    /// Pins a range of mapped addresses in memory, or lets it go again; every page is brought in first.
    ///
    /// - Throws: `.full` beyond what the host lets a process lock; as `load` does.
    public static func wire(address: UInt64, byteCount: Int, _ isPinned: Bool) throws(StoreError) {
        guard byteCount > 0, let start = SystemCall.pointer(address) else { return }
        if isPinned {
            // Locking armed pages of a private file that were never touched was seen to spin.
            try load(address: address, byteCount: byteCount)
            guard mlock(start, byteCount) == 0 else {
                throw StoreError(
                    .full, "\(byteCount) bytes at \(hexadecimal(address)) can't be locked in memory",
                    advice: "Raise the limit of locked memory (ulimit -l)", errno: errno)
            }
        } else {
            guard munlock(start, byteCount) == 0 else { throw SystemCall.error("munlock", errno: errno) }
        }
    }

    /// Passes on how a range of mapped addresses is going to be used; no byte changes.
    ///
    /// A host that can't take the advice is no error.
    ///
    /// - Throws: `.invalid` for `free` and `zero`, which are not advice; `.io` for addresses that are not mapped.
    public static func advise(address: UInt64, byteCount: Int, _ behavior: MemoryBehavior) throws(StoreError) {
        let cold: Int32 = 20, pageOut: Int32 = 21
        let advice: Int32
        switch behavior {
        // The host knows no descending order.
        case .default, .reverseSequential: advice = Int32(MADV_NORMAL)
        case .random: advice = Int32(MADV_RANDOM)
        case .sequential: advice = Int32(MADV_SEQUENTIAL)
        case .willNeed: advice = Int32(MADV_WILLNEED)
        case .dontNeed: advice = cold
        case .pageOut: advice = pageOut
        case .free, .zero: throw StoreError(.invalid, "\(behavior) is no advice")
        }
        do throws(StoreError) { try SystemCall.advise(address, byteCount, advice) } catch {
            guard error.errno == EINVAL || error.errno == EBADF || error.errno == EAGAIN else { throw error }
        }
    }

    /// What the page map shows of a range of addresses.
    struct Count {
        /// Pages that are in memory there.
        var resident = 0
        /// Pages that are swapped out, or that raise SIGBUS.
        var swapped = 0
        /// Write-protected pages that are swapped out, or absent.
        var swappedOrAbsent = 0
    }

    /// Counts the pages of a range of addresses by what this process has there; without those that can't be looked at.
    static func count(address: UInt64, byteCount: Int) -> Count {
        let total = Page.count(forBytes: byteCount)
        var entries = [UInt64](repeating: 0, count: min(8192, max(1, total)))
        var found = Count(), page = 0
        while page < total {
            let wanted = min(entries.count, total - page) * 8
            let position = (Int(address >> UInt64(Page.shift)) + page) * 8
            let got = entries.withUnsafeMutableBytes { pread(hm_pagemap(), $0.baseAddress, wanted, off_t(position)) }
            guard got >= 8 else { break }
            for index in 0..<got / 8 {
                // Bit 63: present; 62: swapped out; 57: write-protected, to find stores.
                if entries[index] >> 63 != 0 {
                    found.resident += 1
                } else if entries[index] >> 62 != 0 {
                    if entries[index] >> 57 & 1 != 0 { found.swappedOrAbsent += 1 } else { found.swapped += 1 }
                }
            }
            page += got / 8
        }
        return found
    }

    /// How many pages of this process are in swap space, as far as the host says so.
    static var swappedPagesOfProcess: Int {
        for line in (ProcessMaps.text("/proc/self/status") ?? "").split(separator: "\n") where line.hasPrefix("VmSwap:") {
            return (Int(line.split(separator: " ").dropFirst().first ?? "") ?? 0) * 1024 / Page.size
        }
        return 0
    }
}
