import AddressMap
import VMTypes

/// The code with which a model refuses a call.
struct Refusal: Error {
    let code: KernReturn
}

/// An address map as plainly as it can be written: one optional one-page entry for every page.
struct PageModel {
    /// The bounds, in pages.
    let bounds: Range<UInt64>
    private var pages: [MapEntry?]

    init(bounds: Range<UInt64>) {
        self.bounds = bounds
        pages = Array(repeating: nil, count: Int(bounds.upperBound))
    }

    /// The fewest entries that say the same.
    var entries: [MapEntry] { Self.joined(pages.compactMap(\.self)) }

    /// What `pages`, in order, amount to when pages that continue each other are joined.
    static func joined(_ pages: some Sequence<MapEntry>) -> [MapEntry] {
        var result: [MapEntry] = []
        for page in pages {
            if let last = result.last, last.continues(into: page) {
                result[result.count - 1].end = page.end
            } else {
                result.append(page)
            }
        }
        return result
    }

    /// `vm_map`'s placement, in pages, with arithmetic that can't overflow.
    func place(
        _ address: UInt64, _ size: UInt64, _ mask: UInt64, anywhere: Bool
    ) -> Result<Range<UInt64>, Refusal> {
        let count = (UInt128(size) + UInt128(page) - 1) / UInt128(page)
        let start = UInt128(address) / UInt128(page)
        let malformed = count == 0 || count * UInt128(page) > UInt128(UInt64.max)
        if malformed { return .failure(Refusal(code: .invalidArgument)) }
        let lower = UInt128(bounds.lowerBound)
        let upper = UInt128(bounds.upperBound)
        func allowed(_ start: UInt128) -> Bool { start * UInt128(page) & UInt128(mask) == 0 }
        func free(_ start: UInt128) -> Bool { (start..<start + count).allSatisfy { pages[Int($0)] == nil } }
        func range(_ start: UInt128) -> Range<UInt64> { UInt64(start)..<UInt64(start + count) }
        if anywhere {
            var candidate = max(start, lower)
            while candidate + count <= upper {
                if allowed(candidate), free(candidate) { return .success(range(candidate)) }
                candidate += 1
            }
            return .failure(Refusal(code: .noSpace))
        }
        if (start + count) * UInt128(page) > UInt128(UInt64.max) { return .failure(Refusal(code: .invalidArgument)) }
        if !allowed(start) { return .failure(Refusal(code: .noSpace)) }
        if start < lower || start + count > upper { return .failure(Refusal(code: .invalidAddress)) }
        return free(start) ? .success(range(start)) : .failure(Refusal(code: .noSpace))
    }

    /// Maps `entry`, whose range is free, page by page.
    mutating func insert(_ entry: MapEntry) {
        for number in entry.start / page..<entry.end / page {
            pages[Int(number)] = entry.clipped(to: bytes(number..<number + 1))
        }
    }

    /// Where `range`, in bytes, meets the pages there are.
    private func indices(_ range: Range<UInt64>) -> Range<Int> {
        let all = UInt64(pages.count)
        return Int(min(range.lowerBound / page, all))..<Int(min(range.upperBound / page, all))
    }

    mutating func remove(_ range: Range<UInt64>) -> [MapEntry] {
        let indices = indices(range)
        defer { for index in indices { pages[index] = nil } }
        return Self.joined(pages[indices].compactMap(\.self))
    }

    /// Checks each page of `range` in order, nil being a hole, then changes them all.
    mutating func change(
        _ range: Range<UInt64>, check: (MapEntry?) -> KernReturn?, _ body: (inout MapEntry) -> Void
    ) -> KernReturn? {
        let indices = indices(range)
        for index in indices { if let code = check(pages[index]) { return code } }
        let beyond = range.upperBound / page > UInt64(pages.count) && !range.isEmpty
        if beyond, let code = check(nil) { return code }
        for index in indices where pages[index] != nil { body(&pages[index]!) }
        return nil
    }
}
