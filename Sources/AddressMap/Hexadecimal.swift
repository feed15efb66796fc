/// `value` as messages show addresses and sizes: `0x1f000`.
func hexadecimal(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

/// `range` as messages show address ranges: `[0x1000, 0x3000)`.
func hexadecimal(_ range: Range<UInt64>) -> String {
    "[\(hexadecimal(range.lowerBound)), \(hexadecimal(range.upperBound)))"
}

extension MapEntry {
    /// The entry as messages name it when it stands in the way.
    var summary: String {
        let what =
            switch backing {
            case .zeroFill: "zero-filled memory"
            case .object(let object, let offset): "object \(object) from offset \(hexadecimal(offset))"
            }
        return "\(hexadecimal(range)) (\(what), \(current), at most \(maximum))"
    }
}
