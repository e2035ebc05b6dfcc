"""Usual names: of the columns of a source, of event types, of money, of users who are nobody, of service lines."""

import re

# Usual column names of each part of the contract, in lower case without signs.
_USER = "user userid uid customer customerid custid custno customerno client clientid member memberid visitor visitorid"
_USER += " household householdid shopper shopperid account accountid person personid buyer buyerid reviewerid"
_ITEM = "item itemid iid product productid productno sku article articleid movie movieid film filmid song songid track"
_ITEM += " trackid book bookid asin isbn ean gtin stockcode businessid"
NAMES: dict[str, dict[str, str]] = {
    "events": {
        "user_id": _USER,
        "item_id": _ITEM,
        "occurred_at": "occurredat timestamp time ts datetime date eventtime eventts eventtimestamp createdat "
        "orderedat orderdate "
        "purchasedat purchasedate boughtat transactiontimestamp transactiondate invoicedate unixtime",
        "position": "position pos seq sequence sequenceno step",
        "event_type": "eventtype event type action behavior behaviour interaction",
        "value": "value quantity qty units pieces rating stars score",
        "amount": "amount total linetotal revenue salesvalue paid",
        "unit_price": "unitprice priceperunit itemprice pieceprice",
        "discount": "discount discountamount rebate",
        "query_text": "querytext query searchterm searchquery keywords",
        "basket_id": "basketid basket orderid order orderno invoice invoiceno receipt receiptid transactionid cartid",
        "session_id": "sessionid session visitid",
        "event_id": "eventid id",
        "ingested_at": "ingestedat loadedat receivedat insertedat",
    },
    "items": {
        "item_id": f"{_ITEM} id",
        "title": "title name itemname productname label movietitle",
        "description": "description desc details summary plot",
        "department": "department dept section maincategory",
        "category": "category categories categorypath class productcategory producttype",
        "labels": "labels tags tag genre genres keywords topics",
        "brand": "brand maker manufacturer vendor author artist publisher studio",
        "price": "price listprice unitprice retailprice",
        "image_url": "imageurl image picture thumbnail poster",
        "available": "available instock active isavailable",
    },
    "users": {
        "user_id": f"{_USER} id",
        "age": "age years",
        "age_band": "ageband agegroup agerange",
        "gender": "gender sex",
        "region": "region state country",
        "income_band": "income incomeband",
        "occupation": "occupation job profession",
        "household_size": "householdsize",
        "kids_count": "kidscount kids children",
        "home_ownership": "homeownership",
        "marital_status": "maritalstatus",
    },
}
REQUIRED = {"events": ("user_id", "item_id"), "items": ("item_id", "title"), "users": ("user_id",)}

TYPES = {
    "view": "view pageview pv detailview browse",
    "search": "search query",
    "click": "click clicked",
    "cart": "cart addtocart atc addcart",
    "purchase": "purchase purchased buy bought order ordered transaction checkout sale",
    "rating": "rating rate rated review",
}
# The event type that the name of a numeric column implies when no column has the type.
IMPLIED = {"rating": "rating", "stars": "rating", "quantity": "purchase", "qty": "purchase", "pieces": "purchase"}

_MONEY = "price cost amount total subtotal revenue turnover sales paid payment spend spent fee tax vat net gross"
_MONEY += " usd eur gbp chf preis betrag summe umsatz brutto netto prix montant precio importe"
_MONEY_ENDS = ("price", "cost", "amount", "revenue", "preis", "betrag", "umsatz")

NOBODY = r"^(0+|9{3,}|-1|n/?a|nan|none|null|nil|undefined|unknown|anonymous|anon|guest|visitor|cash|default|test)$"

# Lines of a receipt that are no merchandise: words that say so among others, and those that do alone.
_SERVICES = (
    "postage shipping carriage handling surcharge fees? charges? commission discounts? rebate coupons? vouchers?"
)
_SERVICES += " gift.?cards? donations? bank.charges versand(kosten)? porto gutscheine? rabatt gebühr(en)? pfand"
_SERVICES += " frais.de.port livraison envío"
_ALONE = "manual adjust(ment)?s? deposit refunds? samples? tips? cash sale fuel miscellaneous"
SERVICE = rf"\b({'|'.join(_SERVICES.split())})\b|^({'|'.join(_ALONE.split())})$"
SERVICE_WORDS = 4  # a longer name tells of an article


def plain(name: str) -> str:
    """A column's name without case, signs and a type written behind a colon."""
    return re.sub(r"[^a-z0-9]", "", name.split(":")[0].lower())


def called_money(name: str) -> bool:
    """Whether a column's name speaks of money."""
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-zäöüß]+|[A-Z]+", name)}
    return bool(words & set(_MONEY.split())) or plain(name).endswith(_MONEY_ENDS)
