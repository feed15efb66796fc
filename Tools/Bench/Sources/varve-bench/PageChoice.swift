import ArgumentParser

/// Which pages a commit stores to; the engines' protocol has these names.
enum PageChoice: String, CaseIterable, ExpressibleByArgument {
    /// Each page as likely as any other.
    case uniform
    /// Zipf's law with exponent 0.99, the frequent pages scattered.
    case zipf
    /// Nine stores in ten to one contiguous 64th of the object.
    case hot
}
