{{ no_promotions() }}
