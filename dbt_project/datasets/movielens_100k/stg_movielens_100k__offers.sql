{{ no_offers() }}
